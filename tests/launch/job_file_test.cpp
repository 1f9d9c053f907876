#include "launch/job_file.h"

#include <gtest/gtest.h>

#include <string>

#include "launch/job_text.h"
#include "trainer/job.h"

namespace decant::launch {
namespace {

using base::ConfigError;
using base::Json;

/// What `work` throws as a ConfigError.
template <class Work>
std::string error_of(Work work) {
  try {
    work();
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "nothing was thrown";
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

Json tree_of(const std::string& text) { return JobFile::parse(text, "job.yaml").tree(); }
std::string parse_error(const std::string& text) {
  return error_of([&] { static_cast<void>(tree_of(text)); });
}

struct Inner : base::Options {
  double rate = 0.1;
  std::vector<double> list{1, 2};
  void describe(base::Fields& fields) override {
    fields.real("rate", rate, {0, 1}, "a rate");
    fields.reals("list", list, {0, 10}, "numbers");
  }
};

struct Sample : base::Options {
  std::int64_t version = 1, count = 3;
  std::string name;
  Inner inner;
  void describe(base::Fields& fields) override {
    fields.integer("version", version, {1, 1}, "of the format");
    fields.integer("count", count, {1, 9}, "how many");
    fields.text("name", name, "any text");
    fields.group("inner", inner, "more");
  }
};

std::string read_error(const std::string& text, const std::vector<std::string>& sets = {}) {
  return error_of([&] {
    JobFile file = JobFile::parse(text, "job.yaml");
    for (const std::string& assignment : sets) file.set(assignment);
    Sample sample;
    file.read_into(sample);
  });
}

TEST(ParseValue, TypesAreThoseOfYaml) {
  EXPECT_EQ(parse_value("3"), Json(3));
  EXPECT_TRUE(parse_value("3").is_number_integer());
  EXPECT_EQ(parse_value("-7").get<int>(), -7);
  EXPECT_EQ(parse_value("+7").get<int>(), 7);
  EXPECT_EQ(parse_value("0x1F").get<int>(), 31);
  EXPECT_EQ(parse_value("0o17").get<int>(), 15);
  EXPECT_EQ(parse_value("007").get<int>(), 7);
  for (const char* text : {"1e-3", "1E-3", "0.001", ".001", "+1e-3"}) {
    EXPECT_TRUE(parse_value(text).is_number_float()) << text;
    EXPECT_EQ(parse_value(text).get<double>(), 1e-3) << text;
  }
  EXPECT_TRUE(parse_value("1.").is_number_float());
  EXPECT_TRUE(parse_value("1e3").is_number_float());
  EXPECT_EQ(parse_value("true"), Json(true));
  EXPECT_EQ(parse_value("False"), Json(false));
  for (const char* text : {"", "~", "null", "NULL"}) EXPECT_TRUE(parse_value(text).is_null()) << text;
}

TEST(ParseValue, TextStaysText) {
  for (const char* text : {"'3'", "\"3\"", "!!str 3"}) EXPECT_EQ(parse_value(text), Json("3")) << text;
  EXPECT_EQ(parse_value("'true'"), Json("true"));
  for (const char* text : {"yes", "no", "on", "1_000", "1e", "+-1", "1.2.3", "0x", "0xg", "runs/a b", "e5"})
    EXPECT_EQ(parse_value(text), Json(text)) << text;
}

TEST(ParseValue, FlowListsAndMaps) {
  EXPECT_EQ(parse_value("[1, 2.5, a, [x]]"), Json::parse(R"([1, 2.5, "a", ["x"]])"));
  EXPECT_EQ(parse_value("{ce: {weight: 1}}"), Json::parse(R"({"ce": {"weight": 1}})"));
  EXPECT_TRUE(has(error_of([] { static_cast<void>(parse_value("a: b")); }), "in quotes"));
  EXPECT_TRUE(has(error_of([] { static_cast<void>(parse_value("- b")); }), "in quotes"));
  EXPECT_TRUE(has(error_of([] { static_cast<void>(parse_value("[1, 2")); }), "no valid YAML"));
}

TEST(ParseValue, RefusesWhatNoNumberHolds) {
  for (const char* text : {".inf", "-.inf", ".nan"})
    EXPECT_TRUE(has(error_of([&] { static_cast<void>(parse_value(text)); }), "no finite number")) << text;
  EXPECT_TRUE(has(error_of([] { static_cast<void>(parse_value("99999999999999999999")); }), "64 bits"));
  EXPECT_TRUE(has(error_of([] { static_cast<void>(parse_value("1e999")); }), "64 bits"));
}

TEST(JobFile, KeepsTheOrderOfKeys) {
  EXPECT_EQ(tree_of("version: 1\nb: 2\na:\n  z: [1, two]\n  y:\n").dump(),
            R"({"version":1,"b":2,"a":{"z":[1,"two"],"y":null}})");
}

TEST(JobFile, BrokenYamlNamesFileLineAndColumn) {
  EXPECT_TRUE(has(parse_error("version: 1\nrun: [1, 2\n"), "job.yaml:3:1: no valid YAML"))
      << parse_error("version: 1\nrun: [1, 2\n");
  EXPECT_TRUE(has(parse_error("version: 1\n\tb: 2\n"), "job.yaml:2:")) << parse_error("version: 1\n\tb: 2\n");
}

TEST(JobFile, AKeyTwiceIsRefused) {
  EXPECT_EQ(parse_error("version: 1\na:\n  b: 1\n  c: 2\n  b: 3\n"), "job.yaml:5:3: the key 'a.b' is there twice");
}

TEST(JobFile, RefusesWhatIsNoMap) {
  EXPECT_TRUE(has(parse_error(""), "is empty"));
  EXPECT_TRUE(has(parse_error("# nothing\n"), "is empty"));
  EXPECT_TRUE(has(parse_error("- a\n"), "job.yaml:1:1"));
  EXPECT_TRUE(has(parse_error("version: 1\n---\nversion: 2\n"), "the document has ended before: there is another"));
  EXPECT_TRUE(has(parse_error("&+~, c :5x1f}"), "a bracket too many"));  // yaml-cpp 0.7 sees no end of it
  EXPECT_TRUE(has(parse_error("version: 1\n[1, 2]: 3\n"), "a key must be a word"));
  EXPECT_TRUE(has(parse_error("version: 1\na: !mine 3\n"), "tag"));
}

TEST(JobFile, AliasesAreFollowedButNotForEver) {
  EXPECT_EQ(tree_of("a: &x {b: 1}\nc: *x\n").dump(), R"({"a":{"b":1},"c":{"b":1}})");
  EXPECT_TRUE(has(parse_error("a: &x [*x]\n"), "alias")) << parse_error("a: &x [*x]\n");
  std::string bomb = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n";
  for (int i = 1; i < 10; ++i) {
    const std::string alias = "*a" + std::to_string(i - 1);
    bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + alias;
    for (int j = 1; j < 10; ++j) bomb += ", " + alias;
    bomb += "]\n";
  }
  EXPECT_TRUE(has(parse_error(bomb), "100,000"));
}

TEST(JobFile, MissingFileIsAWrongCommandLine) {
  const std::string text = error_of([] { static_cast<void>(JobFile::load("/nonexistent/job.yaml")); });
  EXPECT_TRUE(has(text, "/nonexistent/job.yaml")) << text;
  EXPECT_TRUE(has(text, "No such file")) << text;
}

TEST(JobFile, TheVersionIsRequired) {
  EXPECT_TRUE(has(read_error("count: 3\n"), "job.yaml: has no version")) << read_error("count: 3\n");
  const std::string newer = read_error("count: 3\nversion: 2\n");
  EXPECT_TRUE(has(newer, "job.yaml:2:1: version 2")) << newer;
  EXPECT_TRUE(has(newer, "reads version 1")) << newer;
  EXPECT_TRUE(has(read_error("version: one\n"), "version \"one\""));
  EXPECT_TRUE(has(read_error("version: 1\n", {"version=3"}), "--set version=3: version 3"));
}

TEST(JobFile, WrongOptionsNameTheirPlace) {
  EXPECT_EQ(read_error("version: 1\ninner:\n  rate: 0.5\n"), "nothing was thrown");
  const std::string unknown = read_error("version: 1\ninner:\n  rates: 0.5\n");
  EXPECT_TRUE(has(unknown, "job.yaml:3:3: ")) << unknown;
  EXPECT_TRUE(has(unknown, "did you mean 'rate'?")) << unknown;
  const std::string range = read_error("version: 1\ninner:\n  rate: 5\n");
  EXPECT_TRUE(has(range, "job.yaml:3:3: inner.rate: ")) << range;
  const std::string item = read_error("version: 1\ninner: {list: [1, 50]}\n");
  EXPECT_TRUE(has(item, "job.yaml:2:9: inner.list[1]: ")) << item;
  EXPECT_TRUE(has(read_error("version: 1\nname: 3\n"), "job.yaml:2:1: name: expected text"));
}

TEST(JobFile, ChecksOverSeveralOptionsNameTheFirstThatIsWritten) {
  JobFile file = JobFile::parse("version: 1\ncount: 3\n", "job.yaml");
  Sample sample;
  const auto check = [&](const std::string& message) {
    return error_of([&] { file.read_into(sample, [&] { throw ConfigError(message); }); });
  };
  EXPECT_EQ(check("'count' does not go with 'name'"), "job.yaml:2:1: 'count' does not go with 'name'");
  EXPECT_EQ(check("something else"), "job.yaml: something else");
}

TEST(JobFile, SetsAreAppliedInOrderOverTheFile) {
  JobFile file = JobFile::parse("version: 1\ncount: 3\n", "job.yaml");
  for (const char* assignment : {"count=4", "inner.rate=1e-1", "count=5", "inner.list=[3, 4]", "name=a=b"})
    file.set(assignment);
  Sample sample;
  file.read_into(sample);
  EXPECT_EQ(sample.count, 5);
  EXPECT_EQ(sample.inner.rate, 0.1);
  EXPECT_EQ(sample.inner.list, (std::vector<double>{3, 4}));
  EXPECT_EQ(sample.name, "a=b");
}

TEST(JobFile, WrongSetsNameThemselves) {
  const std::string job = "version: 1\ncount: 3\n";
  EXPECT_TRUE(has(read_error(job, {"count"}), "--set count: expected key=value")) << read_error(job, {"count"});
  EXPECT_TRUE(has(read_error(job, {"=3"}), "expected key=value"));
  EXPECT_TRUE(has(read_error(job, {"count=30"}), "--set count=30: count: "));
  EXPECT_TRUE(has(read_error(job, {"count.x=3"}), "--set count.x=3: "));
  const std::string unknown = read_error(job, {"iner.rate=0.5"});
  EXPECT_TRUE(has(unknown, "--set iner.rate=0.5: unknown key 'iner'")) << unknown;
  EXPECT_TRUE(has(unknown, "'inner'")) << unknown;
}

TEST(JobText, ReadsBackAsTheSameOptions) {
  Sample sample;
  sample.inner.rate = 1e-7;
  sample.inner.list = {1, 0.1};
  for (const char* name : {"", "plain", "runs/a", "true", "1e3", "null", "two words", "with: colon", "# not a comment",
                           "-", "quote\" and \\ and \n", "caf\xc3\xa9", "@at", "~"}) {
    sample.name = name;
    for (const Comments comments : {Comments::kNone, Comments::kHelp}) {
      const std::string text = job_text(sample, comments);
      Sample again;
      JobFile::parse(text, "job.yaml").read_into(again);
      EXPECT_EQ(base::write_options(again), base::write_options(sample)) << text;
    }
  }
}

TEST(JobText, CommentsSayWhatAnOptionIs) {
  Sample sample;
  EXPECT_EQ(
      job_text(sample, Comments::kHelp),
      "# of the format (1 to 1)\nversion: 1\n# how many (1 to 9)\ncount: 3\n# any text\nname: \"\"\n\n# more\ninner:\n"
      "  # a rate (0 to 1)\n  rate: 0.1\n  # numbers (0 to 10)\n  list: [1.0, 2.0]\n");
  EXPECT_EQ(job_text(sample, Comments::kNone),
            "version: 1\ncount: 3\nname: \"\"\ninner:\n  rate: 0.1\n  list: [1.0, 2.0]\n");
}

struct Steps : base::Options {
  std::int64_t version = 1;
  base::GroupMap<Inner> steps;
  void describe(base::Fields& fields) override {
    fields.integer("version", version, {1, 1}, "of the format");
    fields.groups("steps", steps, "in order");
  }
};

TEST(JobText, NamedGroupsKeepTheirOrder) {
  Steps steps;
  EXPECT_EQ(job_text(steps, Comments::kNone), "version: 1\nsteps: {}\n");
  const std::string text =
      "version: 1\nsteps:\n  warm:\n    rate: 0.5\n    list: [1.0, 2.0]\n  b:\n    rate: 0.1\n    list: [3.0]\n";
  JobFile::parse(text, "job.yaml").read_into(steps);
  EXPECT_EQ(job_text(steps, Comments::kNone), text);
}

TEST(JobText, TheDefaultJobReadsBackAsItself) {
  const trainer::Registries registries = trainer::default_registries();
  trainer::JobOptions job(registries), again(registries);
  base::read_options({{"version", 1}}, job);
  const std::string text = job_text(job, Comments::kHelp);
  JobFile::parse(text, "job.yaml").read_into(again);
  EXPECT_EQ(base::write_options(again), base::write_options(job));
  EXPECT_EQ(job_text(again, Comments::kHelp), text);
}

}  // namespace
}  // namespace decant::launch
