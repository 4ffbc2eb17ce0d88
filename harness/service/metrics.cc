#include "harness/service/metrics.h"

#include <fmt/format.h>
#include <google/protobuf/util/time_util.h>
#include <prometheus/collectable.h>
#include <prometheus/counter.h>
#include <prometheus/exposer.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <cctype>
#include <exception>
#include <system_error>
#include <utility>
#include <vector>

namespace panicroom::service {
namespace {

using google::protobuf::util::TimeUtil;

// "finished" for RUN_STATE_FINISHED.
std::string state_label(v1::RunState state) {
  std::string label = v1::RunState_Name(state);
  label = label.substr(std::string_view("RUN_STATE_").size());
  for (char& c : label) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return label;
}

// What is so now is asked for when it is read, so that it cannot be out of step with the store.
class Now final : public prometheus::Collectable {
 public:
  Now(RunStore& store, const RunWatchers& watchers, std::filesystem::path state)
      : store_(store), watchers_(watchers), state_(std::move(state)) {}

  [[nodiscard]] std::vector<prometheus::MetricFamily> Collect() const override {
    std::vector<prometheus::MetricFamily> families;
    if (const auto counts = store_.counts()) {
      auto runs = family("panicroom_runs", "Runs that are kept, by their state");
      for (const auto state : {v1::RUN_STATE_QUEUED, v1::RUN_STATE_RUNNING, v1::RUN_STATE_FINISHED,
                               v1::RUN_STATE_FAILED, v1::RUN_STATE_CANCELLED, v1::RUN_STATE_INTERRUPTED}) {
        const auto found = counts->find(state);
        auto& metric = runs.metric.emplace_back();
        metric.label.push_back({"state", state_label(state)});
        metric.gauge.value = found == counts->end() ? 0 : static_cast<double>(found->second);
      }
      families.push_back(std::move(runs));
    }
    auto watchers = family("panicroom_watchers", "Streams of runs' events");
    watchers.metric.emplace_back().gauge.value = static_cast<double>(watchers_.counts("").all);
    families.push_back(std::move(watchers));
    std::error_code error;
    const auto space = std::filesystem::space(state_, error);
    if (!error) {
      auto free = family("panicroom_state_free_bytes", "Free space of the state directory's file system");
      free.metric.emplace_back().gauge.value = static_cast<double>(space.available);
      families.push_back(std::move(free));
    }
    return families;
  }

 private:
  static prometheus::MetricFamily family(std::string name, std::string help) {
    prometheus::MetricFamily family;
    family.name = std::move(name);
    family.help = std::move(help);
    family.type = prometheus::MetricType::Gauge;
    return family;
  }

  RunStore& store_;
  const RunWatchers& watchers_;
  std::filesystem::path state_;
};

}  // namespace

class Metrics::Impl {
 public:
  Impl(RunStore& store, const RunWatchers& watchers, std::filesystem::path state)
      : now(std::make_shared<Now>(store, watchers, std::move(state))) {}

  std::shared_ptr<prometheus::Registry> registry = std::make_shared<prometheus::Registry>();
  std::shared_ptr<Now> now;
  prometheus::Family<prometheus::Counter>& ended = prometheus::BuildCounter()
                                                       .Name("panicroom_runs_ended_total")
                                                       .Help("Runs that came to their end, by what became of them")
                                                       .Register(*registry);
  prometheus::Family<prometheus::Counter>& trials = prometheus::BuildCounter()
                                                        .Name("panicroom_trials_total")
                                                        .Help("Trials of ended runs, by their verdict")
                                                        .Register(*registry);
  prometheus::Family<prometheus::Counter>& refused = prometheus::BuildCounter()
                                                         .Name("panicroom_calls_refused_total")
                                                         .Help("Calls that were not let in, by the reason")
                                                         .Register(*registry);
  prometheus::Histogram& duration =
      prometheus::BuildHistogram()
          .Name("panicroom_run_duration_seconds")
          .Help("From a run's beginning to its end")
          .Register(*registry)
          .Add({}, prometheus::Histogram::BucketBoundaries{10, 30, 60, 300, 900, 3600, 4 * 3600});
  // The last: it asks the others while it lives.
  std::unique_ptr<prometheus::Exposer> exposer;
};

Metrics::Metrics(RunStore& store, const RunWatchers& watchers, std::filesystem::path state)
    : impl_(std::make_unique<Impl>(store, watchers, std::move(state))) {}
Metrics::~Metrics() = default;

void Metrics::run_ended(const v1::RunRecord& record) {
  impl_->ended.Add({{"state", state_label(record.state())}}).Increment();
  const std::pair<const char*, std::uint32_t> verdicts[] = {{"pass", record.counts().passed()},
                                                            {"fail", record.counts().failed()},
                                                            {"error", record.counts().errors()},
                                                            {"skip", record.counts().skipped()}};
  for (const auto& [verdict, count] : verdicts) impl_->trials.Add({{"verdict", verdict}}).Increment(count);
  if (record.has_start_time()) {
    impl_->duration.Observe(
        static_cast<double>(TimeUtil::DurationToMilliseconds(record.end_time() - record.start_time())) / 1000);
  }
}

void Metrics::call_refused(std::string_view why) { impl_->refused.Add({{"reason", std::string(why)}}).Increment(); }

std::string Metrics::text() const {
  auto families = impl_->registry->Collect();
  for (auto& family : impl_->now->Collect()) families.push_back(std::move(family));
  return prometheus::TextSerializer().Serialize(families);
}

Result<std::string> Metrics::expose(const std::string& address) {
  // civetweb tells of a port that is taken by an exception.
  try {
    constexpr std::size_t kThreads = 2;
    auto exposer = std::make_unique<prometheus::Exposer>(address, kThreads);
    exposer->RegisterCollectable(impl_->registry);
    exposer->RegisterCollectable(impl_->now);
    const auto ports = exposer->GetListeningPorts();
    if (ports.empty()) return host_error("cannot listen for metrics at {}", address);
    impl_->exposer = std::move(exposer);
    return fmt::format("{}:{}", address.substr(0, address.rfind(':')), ports.front());
  } catch (const std::exception& exception) {
    return host_error("cannot listen for metrics at {}: {}", address, exception.what());
  }
}

}  // namespace panicroom::service
