#include "harness/service/client_roles.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace panicroom::service {
namespace {

using testing::HasSubstr;

std::string error_of(const std::string& yaml) {
  const auto roles = ClientRoles::parse(yaml, "clients.yaml");
  return roles ? "" : roles.error().message();
}

TEST(ClientRolesTest, EachClientHasItsRole) {
  const auto roles =
      ClientRoles::parse("clients:\n  ci.example.org: run\n  spiffe://lab/qa: control\n  '*.see': view\n", "f").value();
  EXPECT_EQ(roles.role_of("ci.example.org"), Role::kRun);
  EXPECT_EQ(roles.role_of("spiffe://lab/qa"), Role::kControl);
  EXPECT_EQ(roles.role_of("*.see"), Role::kView);
  // Names are names and no patterns.
  EXPECT_EQ(roles.role_of("x.see"), std::nullopt);
  EXPECT_EQ(roles.role_of(""), std::nullopt);
  EXPECT_EQ(roles.role_of("CI.example.org"), std::nullopt);
}

TEST(ClientRolesTest, RolesContainEachOther) {
  EXPECT_LT(Role::kView, Role::kRun);
  EXPECT_LT(Role::kRun, Role::kControl);
}

TEST(ClientRolesTest, MistakesAreToldWithTheirPlace) {
  EXPECT_THAT(error_of("clients:\n  a: view\n  b: admin\n"), HasSubstr("clients.yaml:3:6: error: 'admin' is no role"));
  EXPECT_THAT(error_of("clients:\n  a: view\n  a: run\n"), HasSubstr("clients.yaml:3:3: error: a stands twice"));
  EXPECT_THAT(error_of("client:\n  a: view\n"), HasSubstr("clients.yaml:1:1: error: unknown key 'client'"));
  EXPECT_THAT(error_of("clients: [a, b]\n"), HasSubstr("clients.yaml:1:10: error: clients is not a map"));
  EXPECT_THAT(error_of("clients:\n  a: [run]\n"), HasSubstr("clients.yaml:2:6: error: the role of a is no word"));
  EXPECT_THAT(error_of("clients:\n  '': run\n"), HasSubstr("clients.yaml:2:3: error: an identity that is empty"));
  EXPECT_THAT(error_of("clients:\n  local: run\n"), HasSubstr("clients.yaml:2:3: error: local is the name of"));
  EXPECT_THAT(error_of("clients: {a: run"), HasSubstr("clients.yaml:1:"));
  EXPECT_THAT(error_of("clients: {}\n"), HasSubstr("names no clients"));
  EXPECT_THAT(error_of("x"), HasSubstr("not a map"));
  EXPECT_THAT(error_of(""), HasSubstr("not a map"));
  EXPECT_THAT(error_of(std::string(2 << 20, ' ')), HasSubstr("more than"));
  EXPECT_FALSE(ClientRoles::load("/nonexistent"));
}

}  // namespace
}  // namespace panicroom::service
