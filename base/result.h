// Errors are values: every operation that can fail returns a Result<T>, which the caller must look at.
//
// An Error says what went wrong in words for the person who has to mend it, and of which kind it is. The kind decides
// who is to blame, and so what a run may conclude: a host fault never becomes a guest's failure.
#pragma once

#include <fmt/format.h>

#include <string>
#include <tl/expected.hpp>
#include <type_traits>
#include <utility>

namespace panicroom {

enum class ErrorKind {
  kInvalidInput,  // The user's: a command line, a scenario, a file that is not what it should be. `run` exits 2.
  kHost,          // The harness's or the host's: QEMU died, a disk is full, a package is missing. Verdict `error`.
  kUnsupported,   // A stated requirement that this kernel, engine or host does not meet. Verdict `skip`.
  kCancelled,     // The user ended it (Ctrl-C, a client that left).
};

// Immutable once returned, but for with_context(), which callers use to say what they were doing.
class Error {
 public:
  Error(ErrorKind kind, std::string message) : kind_(kind), message_(std::move(message)) {}

  [[nodiscard]] ErrorKind kind() const { return kind_; }
  // The whole chain, outermost context first: "fetching debian:sid/amd64: apt-get: no such package".
  [[nodiscard]] const std::string& message() const { return message_; }

  [[nodiscard]] Error with_context(std::string_view context) && {
    message_ = fmt::format("{}: {}", context, message_);
    return std::move(*this);
  }

 private:
  ErrorKind kind_;
  std::string message_;
};

// tl::expected, made must-check. Result<> is the result of something that has no value to give.
template <typename T = void>
class [[nodiscard]] Result : public tl::expected<T, Error> {
 public:
  using tl::expected<T, Error>::expected;
  using Base = tl::expected<T, Error>;
  Result() = default;
  // Implicit, so that `return error;` reads as it should.
  // NOLINTNEXTLINE(google-explicit-constructor)
  Result(Error error) : Base(tl::unexpected<Error>(std::move(error))) {}
};

// Error makers; the arguments are fmt's.
template <typename... Args>
Error invalid_input(fmt::format_string<Args...> format, Args&&... args) {
  return {ErrorKind::kInvalidInput, fmt::format(format, std::forward<Args>(args)...)};
}
template <typename... Args>
Error host_error(fmt::format_string<Args...> format, Args&&... args) {
  return {ErrorKind::kHost, fmt::format(format, std::forward<Args>(args)...)};
}
template <typename... Args>
Error unsupported(fmt::format_string<Args...> format, Args&&... args) {
  return {ErrorKind::kUnsupported, fmt::format(format, std::forward<Args>(args)...)};
}

// A host error that ends in the text of an errno value.
Error errno_error(int errno_value, std::string_view what);

namespace detail {
template <typename T>
T take(Result<T>&& result) {
  if constexpr (std::is_void_v<T>) {
    return;
  } else {
    return *std::move(result);
  }
}
}  // namespace detail

}  // namespace panicroom

// TRY(expression): the value of a Result, or return its error from the enclosing function.
// A GNU statement expression, which both compilers of this project have: `auto image = TRY(load(path));`
#define TRY(...) PANICROOM_TRY(PANICROOM_TRY_NAME(panicroom_try_, __COUNTER__), __VA_ARGS__)

// TRY_CONTEXT(context, expression): the same, with "context: " put before the error's message.
#define TRY_CONTEXT(context, ...) \
  PANICROOM_TRY_CONTEXT(PANICROOM_TRY_NAME(panicroom_try_, __COUNTER__), context, __VA_ARGS__)

// A name of its own for each, so that one may stand inside another.
#define PANICROOM_TRY_NAME(prefix, number) PANICROOM_TRY_JOIN(prefix, number)
#define PANICROOM_TRY_JOIN(prefix, number) prefix##number
#define PANICROOM_TRY(name, ...)                          \
  __extension__({                                         \
    auto name = (__VA_ARGS__);                            \
    if (!name) [[unlikely]]                               \
      return ::panicroom::Error(std::move(name).error()); \
    ::panicroom::detail::take(std::move(name));           \
  })
#define PANICROOM_TRY_CONTEXT(name, context, ...)                               \
  __extension__({                                                               \
    auto name = (__VA_ARGS__);                                                  \
    if (!name) [[unlikely]]                                                     \
      return ::panicroom::Error(std::move(name).error()).with_context(context); \
    ::panicroom::detail::take(std::move(name));                                 \
  })
