#include "harness/service/run_request.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <iterator>

#include "base/file.h"
#include "base/testing/temporary_directory.h"

namespace panicroom::service {
namespace {

namespace fs = std::filesystem;

using testing::AllOf;
using testing::ElementsAre;
using testing::Field;
using testing::HasSubstr;
using testing::IsEmpty;

std::string scenario(const std::string& name, const std::string& more = "") {
  return fmt::format("name: {}\n{}timeline:\n  - {{cpu: 0, at: panic, do: note}}\nexpect: {{outcome: dumped}}\n", name,
                     more);
}

auto violation(const std::string& field, const std::string& part) {
  return AllOf(Field(&Violation::field, field), Field(&Violation::description, HasSubstr(part)));
}

class RunRequestTest : public testing::Test {
 protected:
  void add(const std::string& path, const std::string& yaml, bool named = false) {
    auto& file = *request_.add_scenario_files();
    file.set_path(path);
    file.set_yaml(yaml);
    file.set_named(named);
  }
  std::vector<Violation> violations() { return stage().violations; }
  CheckedRequest stage() {
    fs::remove_all(folder_);
    auto checked = stage_run(request_, policy_, folder_);
    EXPECT_TRUE(checked) << checked.error().message();
    return checked ? *checked : CheckedRequest();
  }
  void write(const fs::path& path, const std::string& text) {
    fs::create_directories(path.parent_path());
    ASSERT_TRUE(write_file(path, text));
  }

  TemporaryDirectory directory_;
  fs::path folder_ = directory_.path() / "run/scenarios";
  v1::StartRunRequest request_;
  RequestPolicy policy_;
};

TEST_F(RunRequestTest, AGoodRequestIsLaidDown) {
  add("seed/one.yaml", scenario("one"));
  add("seed/deep/two.yaml", scenario("two", "tier: slow\n"), true);
  request_.mutable_options()->add_kernels("debian:trixie/cloud-amd64");
  request_.mutable_options()->set_repeat(3);
  request_.mutable_options()->set_jobs(2);
  request_.mutable_options()->set_engine("qemu");
  request_.mutable_options()->set_capture_kernel("host");
  const auto checked = stage();
  EXPECT_THAT(checked.violations, IsEmpty());
  EXPECT_EQ(checked.scenarios, 2u);
  EXPECT_EQ(read_text_file(folder_ / "seed/one.yaml").value(), scenario("one"));
  EXPECT_THAT(run_arguments(request_.options(), folder_),
              ElementsAre("seed", "seed/deep/two.yaml", "--kernel=debian:trixie/cloud-amd64", "--capture-kernel=host",
                          "--engine=qemu", "--repeat=3", "--jobs=2"));
}

TEST_F(RunRequestTest, ALooseFileIsNotNamed) {
  add("one.yaml", scenario("one"));
  EXPECT_THAT(violations(), IsEmpty());
  EXPECT_THAT(run_arguments({}, folder_), ElementsAre("."));
}

TEST_F(RunRequestTest, AnOptionCannotBecomeAnother) {
  v1::RunOptions options;
  options.add_tiers("--out=/etc");
  options.add_names("--out=/etc");
  options.add_kernels("--journal=x");
  EXPECT_THAT(run_arguments(options, folder_),
              ElementsAre("--tier=--out=/etc", "--name=--out=/etc", "--kernel=--journal=x"));
}

TEST_F(RunRequestTest, EveryMistakeIsToldWithLineAndColumn) {
  add("good.yaml", scenario("good"));
  add("a/bad.yaml", "name: x\ntimelin: []\nexpect: {outcome: dumped, whatever: 1}\n");
  const auto found = violations();
  EXPECT_THAT(found, testing::Contains(violation("scenario_files[1].yaml", "a/bad.yaml:2:1: error: ")));
  EXPECT_THAT(found, testing::Contains(violation("scenario_files[1].yaml", "a/bad.yaml:3:27: error: ")));
  for (const auto& each : found) EXPECT_THAT(each.description, testing::Not(HasSubstr(directory_.path().string())));
}

TEST_F(RunRequestTest, TwoScenariosOfOneNameAreTold) {
  add("a.yaml", scenario("same"));
  add("b.yaml", scenario("same"));
  EXPECT_THAT(violations(), ElementsAre(violation("scenario_files[1].yaml", "already, in a.yaml:1")));
}

TEST_F(RunRequestTest, PathsLeadNowhere) {
  for (const auto* path :
       {"/etc/x.yaml", "../x.yaml", "a/../../x.yaml", "x.txt", "", ".x.yaml", "a b.yaml", "-x.yaml"}) {
    request_.Clear();
    add(path, scenario("one"));
    EXPECT_THAT(violations(), ElementsAre(violation("scenario_files[0].path", "is not a plain relative path"))) << path;
  }
  EXPECT_EQ(std::distance(fs::directory_iterator(directory_.path()), fs::directory_iterator()), 1);
}

TEST_F(RunRequestTest, OneFileIsNotTwo) {
  add("a.yaml", scenario("one"));
  add("a.yaml", scenario("two"));
  add("a.yaml/b.yaml", scenario("three"));
  EXPECT_THAT(violations(), ElementsAre(violation("scenario_files[1].yaml", "already"),
                                        violation("scenario_files[2].yaml", "a file and a folder")));
}

TEST_F(RunRequestTest, SizesAreBounded) {
  EXPECT_THAT(violations(), ElementsAre(violation("scenario_files", "nothing to run")));
  add("large.yaml", std::string(256 * 1024 + 1, '#'));
  EXPECT_THAT(violations(), ElementsAre(violation("scenario_files[0].yaml", "larger than 256 KiB")));
  request_.Clear();
  policy_.max_files = 2;
  for (int i = 0; i < 3; ++i) add(fmt::format("{}.yaml", i), scenario(fmt::format("s{}", i)));
  EXPECT_THAT(violations(), ElementsAre(violation("scenario_files", "more than 2")));
  request_.Clear();
  for (int i = 0; i < 1000; ++i) request_.add_scenario_files();
  policy_.max_files = 1000;
  EXPECT_THAT(violations(), testing::SizeIs(100));
}

TEST_F(RunRequestTest, AMachineIsNoLargerThanTheHostAllows) {
  add("a.yaml", scenario("a", "machine: {vcpus: 4, memory: 1G}\n"));
  policy_.max_vcpus = 8;
  policy_.max_memory_bytes = std::uint64_t{2} << 30;
  request_.mutable_options()->set_jobs(2);
  EXPECT_THAT(violations(), IsEmpty());
  request_.mutable_options()->set_jobs(3);
  EXPECT_THAT(violations(), ElementsAre(violation("scenario_files[0].yaml", "4 vCPUs in 3 machines"),
                                        violation("scenario_files[0].yaml", "1024 MiB in each of 3")));
}

TEST_F(RunRequestTest, TrialsAreCounted) {
  add("a.yaml", scenario("a"));
  add("b.yaml", scenario("b"));
  policy_.max_trials = 100;
  request_.mutable_options()->set_repeat(50);
  EXPECT_THAT(violations(), IsEmpty());
  request_.mutable_options()->add_kernels("host");
  request_.mutable_options()->add_kernels("debian:6.1.0-1-amd64");
  EXPECT_THAT(violations(), ElementsAre(violation("options", "200 trials")));
  request_.mutable_options()->clear_kernels();
  request_.mutable_options()->add_kernels("debian:*/*");
  EXPECT_THAT(violations(), ElementsAre(violation("options", "trials")));
}

TEST_F(RunRequestTest, OptionsAreChecked) {
  add("a.yaml", scenario("a"));
  auto& options = *request_.mutable_options();
  options.set_engine("xen");
  options.set_repeat(100'001);
  options.set_jobs(257);
  options.add_tiers("");
  options.add_names(std::string(301, '*'));
  options.add_kernels(std::string(301, 'x'));
  options.add_kernels("/boot/vmlinuz-*");
  options.set_capture_kernel("debian:*/amd64");
  EXPECT_THAT(violations(), ElementsAre(violation("options.engine", "xen"), violation("options.repeat", ""),
                                        violation("options.jobs", ""), violation("options.tiers[0]", ""),
                                        violation("options.names[0]", ""), violation("options.kernels[0]", ""),
                                        violation("options.kernels[1]", "only patterns"),
                                        violation("options.capture_kernel", "a pattern")));
}

TEST_F(RunRequestTest, ATierThatIsNotThereIsTold) {
  add("a.yaml", scenario("a"));
  request_.mutable_options()->add_tiers("slow");
  EXPECT_THAT(violations(), ElementsAre(violation("options.tiers", "slow")));
}

TEST_F(RunRequestTest, NamesChooseAndOneThatNothingMatchesIsTold) {
  add("a.yaml", scenario("a"));
  request_.mutable_options()->add_names("[ab]");
  EXPECT_THAT(violations(), IsEmpty());
  request_.mutable_options()->add_names("b*");
  EXPECT_THAT(violations(), ElementsAre(violation("options.names", "b*")));
}

TEST_F(RunRequestTest, KernelsByPathOnlyWhereTheyAreAllowed) {
  add("a.yaml", scenario("a"));
  const auto allowed = directory_.path() / "allowed";
  write(allowed / "bzImage", "x");
  write(directory_.path() / "outside", "x");
  fs::create_symlink(directory_.path() / "outside", allowed / "link");
  fs::create_directory(allowed / "modules");
  const auto kernels = [&](const std::string& reference) {
    request_.mutable_options()->clear_kernels();
    request_.mutable_options()->add_kernels(reference);
    return violations();
  };
  const auto path = [&](const std::string& name) { return (allowed / name).string(); };
  EXPECT_THAT(kernels(path("bzImage")), ElementsAre(violation("options.kernels[0]", "allows no such path")));
  policy_.kernel_folders = {allowed};
  EXPECT_THAT(kernels(path("bzImage")), IsEmpty());
  EXPECT_THAT(kernels(path("bzImage") + ":modules=" + path("modules")), IsEmpty());
  for (const auto& reference : {path("link"), path("../outside"), path("absent"), std::string("bzImage"),
                                path("bzImage") + ":modules=/etc", std::string("/etc/passwd")}) {
    EXPECT_THAT(kernels(reference), ElementsAre(violation("options.kernels[0]", "allows no such path"))) << reference;
  }
}

class CatalogueRequestTest : public RunRequestTest {
 protected:
  void SetUp() override {
    write(catalogue_ / "oops.yaml", scenario("oops"));
    write(catalogue_ / "seed/a.yaml", scenario("a"));
    write(catalogue_ / "seed/b.yaml", scenario("b", "tier: slow\n"));
    write(catalogue_ / "notes.txt", "x");
    write(directory_.path() / "outside/c.yaml", scenario("c"));
    fs::create_directory_symlink(directory_.path() / "outside", catalogue_ / "link");
    fs::create_symlink(directory_.path() / "outside/c.yaml", catalogue_ / "link.yaml");
  }
  fs::path catalogue_ = directory_.path() / "catalogue";
};

TEST_F(CatalogueRequestTest, FilesAndFolders) {
  policy_.catalogue = catalogue_;
  request_.add_catalogue("oops.yaml");
  request_.add_catalogue("seed");
  const auto checked = stage();
  EXPECT_THAT(checked.violations, IsEmpty());
  EXPECT_EQ(checked.scenarios, 2u);  // One is of a tier.
  EXPECT_THAT(run_arguments({}, folder_), ElementsAre(".", "oops.yaml"));
  request_.add_catalogue("seed/b.yaml");
  EXPECT_EQ(stage().scenarios, 3u);
  request_.clear_catalogue();
  request_.add_catalogue(".");
  EXPECT_EQ(stage().scenarios, 2u);
}

TEST_F(CatalogueRequestTest, NothingElse) {
  request_.add_catalogue("oops.yaml");
  EXPECT_THAT(violations(), ElementsAre(violation("catalogue[0]", "no catalogue")));
  policy_.catalogue = catalogue_;
  for (const auto* name :
       {"../outside", "link", "link.yaml", "link/c.yaml", "absent", "notes.txt", "", "/etc", "./seed"}) {
    request_.clear_catalogue();
    request_.add_catalogue(name);
    EXPECT_THAT(violations(), ElementsAre(violation("catalogue[0]", "not in the server's catalogue"))) << name;
  }
}

}  // namespace
}  // namespace panicroom::service
