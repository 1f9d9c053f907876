#include "base/options.h"

#include <gtest/gtest.h>

#include "base/registry.h"

namespace decant::base {
namespace {

struct CrossEntropy : Options {
  double weight = 1;
  void describe(Fields& fields) override { fields.real("weight", weight, {0, 1e6}, "share of the sum"); }
};

struct KlTail : Options {
  double weight = 1, temperature = 2;
  void describe(Fields& fields) override {
    fields.real("weight", weight, {0, 1e6}, "share of the sum");
    fields.real("temperature", temperature, {1, 100}, "softens both | sides");
  }
};

struct Product {};

struct Losses : Registry<Product> {
  Losses() : Registry("loss") {
    add<CrossEntropy>("ce", [](const CrossEntropy&) { return std::make_shared<Product>(); });
    add<KlTail>("kl_tail", [](const KlTail&) { return std::make_shared<Product>(); });
  }
};

const Losses& losses() {
  static const Losses out;
  return out;
}

struct Batch : Options {
  std::int64_t sequences = 128;
  std::vector<double> temperatures{1, 1.5};
  void describe(Fields& fields) override {
    fields.integer("sequences", sequences, {1, 1000}, "global");
    fields.reals("temperatures", temperatures, {1}, "of labels");
  }
};

struct Job : Options {
  std::string mode = "fast", name;
  bool verbose = false;
  std::int64_t seed = 0;
  std::vector<std::string> files;
  Batch batch;
  KindOptions main{"ce", nullptr};
  std::map<std::string, KindOptions> all;
  Job() { all["ce"] = {"", nullptr}; }
  void describe(Fields& fields) override {
    fields.text("mode", mode, "how", {"fast", "exact"});
    fields.text("name", name, "any text");
    fields.flag("verbose", verbose, "say more");
    fields.integer("seed", seed, {}, "any");
    fields.texts("files", files, "to read");
    fields.group("batch", batch, "what a step sees");
    fields.kind("main", main, losses(), "the one");
    fields.kinds("all", all, losses(), "the many");
  }
};

Json json(const char* text) { return Json::parse(text); }

std::string error_of(const char* text, const std::string& prefix = "") {
  Job job;
  try {
    read_options(json(text), job, prefix);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "";
}

TEST(ReadOptions, AbsentKeysKeepTheirDefaults) {
  Job job;
  read_options(Json::object(), job);
  EXPECT_EQ(job.mode, "fast");
  EXPECT_EQ(job.batch.sequences, 128);
  ASSERT_NE(job.main.options, nullptr);
  EXPECT_NE(dynamic_cast<CrossEntropy*>(job.main.options.get()), nullptr);
  ASSERT_NE(job.all.at("ce").options, nullptr);
  EXPECT_EQ(job.all.at("ce").type, "ce");
}

TEST(ReadOptions, EveryTypeIsRead) {
  Job job;
  read_options(json(R"({"mode": "exact", "name": "n", "verbose": true, "seed": -5, "files": ["a", "b"],
                        "batch": {"sequences": 7, "temperatures": [1, 2.5]}})"),
               job);
  EXPECT_EQ(job.mode, "exact");
  EXPECT_EQ(job.name, "n");
  EXPECT_TRUE(job.verbose);
  EXPECT_EQ(job.seed, -5);
  EXPECT_EQ(job.files, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(job.batch.sequences, 7);
  EXPECT_EQ(job.batch.temperatures, (std::vector<double>{1, 2.5}));
}

TEST(ReadOptions, OneValueIsAListOfOneAndAnEmptyGroupIsNull) {
  Job job;
  read_options(json(R"({"files": "a", "batch": null})"), job);
  EXPECT_EQ(job.files, std::vector<std::string>{"a"});
  read_options(json(R"({"batch": {"temperatures": 4}})"), job);
  EXPECT_EQ(job.batch.temperatures, std::vector<double>{4});
}

TEST(ReadOptions, IntegersAcceptIntegralFloatsOnly) {
  Job job;
  read_options(json(R"({"batch": {"sequences": 1e2}, "seed": 9223372036854775807})"), job);
  EXPECT_EQ(job.batch.sequences, 100);
  EXPECT_EQ(job.seed, std::numeric_limits<std::int64_t>::max());
  EXPECT_EQ(error_of(R"({"seed": 1.5})"), "seed: expected an integer, found 1.5");
  EXPECT_EQ(error_of(R"({"seed": 9223372036854775808})"), "seed: expected an integer, found 9223372036854775808");
  EXPECT_EQ(error_of(R"({"seed": 1e30})"), "seed: expected an integer, found 1e+30");
  EXPECT_EQ(error_of(R"({"seed": true})"), "seed: expected an integer, found true");
}

TEST(ReadOptions, UnknownKeysNameTheNearest) {
  EXPECT_EQ(error_of(R"({"all": {"kl_tail": {"temprature": 2}}})"),
            "unknown key 'all.kl_tail.temprature'; did you mean 'temperature'?");
  EXPECT_EQ(error_of(R"({"batch": {"sequnces": 2}})"), "unknown key 'batch.sequnces'; did you mean 'sequences'?");
  EXPECT_EQ(error_of(R"({"batch": {"learning": 2}})"), "unknown key 'batch.learning'; known: sequences, temperatures");
  EXPECT_EQ(error_of(R"({"main": {"typ": "ce"}})"), "unknown key 'main.typ'; did you mean 'type'?");
  EXPECT_EQ(error_of(R"({"vebrose": 1})", "teacher"), "unknown key 'teacher.vebrose'; did you mean 'verbose'?");
}

TEST(ReadOptions, WrongTypesAreErrors) {
  EXPECT_EQ(error_of(R"({"verbose": "yes"})"), "verbose: expected true or false, found 'yes'");
  EXPECT_EQ(error_of(R"({"name": 3})"), "name: expected text, found 3; put it in quotes");
  EXPECT_EQ(error_of(R"({"name": null})"), "name: expected text, found nothing");
  EXPECT_EQ(error_of(R"({"files": [1]})"), "files[0]: expected text, found 1; put it in quotes");
  EXPECT_EQ(error_of(R"({"files": {}})"), "files: expected a list of texts, found a map");
  EXPECT_EQ(error_of(R"({"batch": 3})"), "batch: expected a map of options, found 3");
  EXPECT_EQ(error_of(R"({"batch": {"temperatures": ["a"]}})"), "batch.temperatures[0]: expected a number, found 'a'");
  EXPECT_EQ(error_of("[]"), "options: expected a map of options, found a list");
  EXPECT_EQ(error_of(R"({"main": 3})"), "main: expected a loss (a map or its type), found 3");
  EXPECT_EQ(error_of(R"({"main": {"type": 3}})"), "main.type: expected text, found 3; put it in quotes");
  EXPECT_EQ(error_of(R"({"all": ["ce"]})"), "all: expected a map of named entries, found a list");
}

TEST(ReadOptions, RangesAreInclusiveAndShown) {
  EXPECT_EQ(error_of(R"({"batch": {"sequences": 1}})"), "");
  EXPECT_EQ(error_of(R"({"batch": {"sequences": 1000}})"), "");
  EXPECT_EQ(error_of(R"({"batch": {"sequences": 0}})"), "batch.sequences: 0 is out of range (1 to 1000)");
  EXPECT_EQ(error_of(R"({"batch": {"sequences": 1001}})"), "batch.sequences: 1001 is out of range (1 to 1000)");
  EXPECT_EQ(error_of(R"({"batch": {"temperatures": [1, 0.5]}})"), "batch.temperatures[1]: 0.5 is out of range (>= 1)");
}

TEST(ReadOptions, NumbersMustBeFinite) {
  for (const double bad : {std::nan(""), std::numeric_limits<double>::infinity()}) {
    Job job;
    EXPECT_THROW(read_options(Json{{"batch", {{"temperatures", {bad}}}}}, job), ConfigError);
  }
}

TEST(ReadOptions, UnknownChoicesNameTheNearest) {
  EXPECT_EQ(error_of(R"({"mode": "exat"})"), "mode: unknown choice 'exat'; did you mean 'exact'? (known: fast, exact)");
  EXPECT_EQ(error_of(R"({"mode": "slow motion"})"), "mode: unknown choice 'slow motion' (known: fast, exact)");
}

TEST(ReadOptions, AKindChoosesItsOptions) {
  Job job;
  read_options(json(R"({"main": {"type": "kl_tail", "temperature": 3}})"), job);
  EXPECT_EQ(job.main.type, "kl_tail");
  EXPECT_EQ(dynamic_cast<KlTail&>(*job.main.options).temperature, 3);
  read_options(json(R"({"main": "ce"})"), job);
  EXPECT_EQ(job.main.type, "ce");
  EXPECT_NE(dynamic_cast<CrossEntropy*>(job.main.options.get()), nullptr);
  EXPECT_EQ(error_of(R"({"main": "kl_tial"})"),
            "main: unknown loss 'kl_tial'; did you mean 'kl_tail'? (known: ce, kl_tail)");
  EXPECT_EQ(error_of(R"({"main": {"type": "ce", "temperature": 3}})"),
            "unknown key 'main.temperature'; known: type, weight");
}

TEST(ReadOptions, ADefaultKindKeepsItsChangedDefaultsOnlyAsItself) {
  const auto changed = [] {
    auto options = std::make_unique<KlTail>();
    options->weight = 5;
    return KindOptions{"kl_tail", std::move(options)};
  };
  Job job;
  job.main = changed();
  read_options(json(R"({"main": {"temperature": 3}})"), job);
  EXPECT_EQ(dynamic_cast<KlTail&>(*job.main.options).weight, 5);
  EXPECT_EQ(dynamic_cast<KlTail&>(*job.main.options).temperature, 3);
  job.main = changed();
  read_options(json(R"({"main": "ce"})"), job);
  EXPECT_EQ(dynamic_cast<CrossEntropy&>(*job.main.options).weight, 1);
}

TEST(ReadOptions, AKindWithoutADefaultTypeNeedsOne) {
  Job job;
  job.main = {};
  read_options(Json::object(), job);
  EXPECT_EQ(job.main.options, nullptr);  // absent stays absent
  try {
    read_options(json(R"({"main": {"weight": 2}})"), job);
    ADD_FAILURE() << "no error";
  } catch (const ConfigError& error) {
    EXPECT_STREQ(error.what(), "main: needs a type (known: ce, kl_tail)");
  }
}

TEST(ReadOptions, AMapOfKindsReplacesTheDefaultMap) {
  Job job;
  read_options(json(R"({"all": {"kl_tail": {"weight": 0.5}, "again": {"type": "kl_tail"}, "third": "ce"}})"), job);
  ASSERT_EQ(job.all.size(), 3u);
  EXPECT_EQ(job.all.at("kl_tail").type, "kl_tail");
  EXPECT_EQ(dynamic_cast<KlTail&>(*job.all.at("kl_tail").options).weight, 0.5);
  EXPECT_EQ(job.all.at("again").type, "kl_tail");
  EXPECT_EQ(job.all.at("third").type, "ce");
  EXPECT_FALSE(job.all.contains("ce"));
  EXPECT_EQ(error_of(R"({"all": {"kl": {}}})").substr(0, 26), "all.kl: unknown loss 'kl' ");
  Job bare;
  read_options(json(R"({"all": {"kl_tail": null}})"), bare);
  EXPECT_EQ(dynamic_cast<KlTail&>(*bare.all.at("kl_tail").options).temperature, 2);
  read_options(json(R"({"all": {}})"), bare);
  EXPECT_TRUE(bare.all.empty());
}

TEST(WriteOptions, IsResolvedAndInOrderOfDeclaration) {
  Job job;
  const std::string expected =
      R"({"mode":"fast","name":"","verbose":false,"seed":0,"files":[],)"
      R"("batch":{"sequences":128,"temperatures":[1.0,1.5]},"main":{"type":"ce","weight":1.0},)"
      R"("all":{"ce":{"type":"ce","weight":1.0}}})";
  EXPECT_EQ(write_options(job).dump(), expected);  // before anything was read
  read_options(Json::object(), job);
  EXPECT_EQ(write_options(job).dump(), expected);
}

TEST(WriteOptions, IsReadBackTheSame) {
  Job job;
  read_options(json(R"({"mode": "exact", "seed": 3, "files": ["x"], "batch": {"temperatures": [6]},
                        "main": {"type": "kl_tail", "temperature": 7}, "all": {"b": {"type": "ce", "weight": 4}}})"),
               job);
  const Json written = write_options(job);
  Job again;
  read_options(written, again);
  EXPECT_EQ(write_options(again).dump(), written.dump());
}

/// A group with a constructor, a kind inside, and groups inside groups.
struct Step : Options {
  explicit Step(std::int64_t first) : length(first) {}
  std::int64_t length;
  KindOptions loss{"ce", nullptr};
  GroupMap<Batch> batches;
  void describe(Fields& fields) override {
    fields.integer("length", length, {1, 100}, "how long");
    fields.kind("loss", loss, losses(), "what");
    fields.groups("batches", batches, "of the step");
  }
};

struct Plan : Options {
  GroupMap<Step> steps{[] { return std::make_unique<Step>(5); }};
  void describe(Fields& fields) override { fields.groups("steps", steps, "one after another"); }
};

std::string plan_error(const char* text) {
  Plan plan;
  try {
    read_options(json(text), plan);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "";
}

TEST(NamedGroups, KeepTheOrderInWhichTheyAreWritten) {
  Plan plan;
  read_options(json(R"({"steps": {"warm": {"length": 2}, "main": null, "again": {"loss": "kl_tail"}}})"), plan);
  std::vector<std::string> names;
  for (const auto& [name, step] : plan.steps) names.push_back(name);
  EXPECT_EQ(names, (std::vector<std::string>{"warm", "main", "again"}));
  EXPECT_EQ(plan.steps.find("warm")->length, 2);
  EXPECT_EQ(plan.steps.find("main")->length, 5);
  EXPECT_NE(plan.steps.find("main")->loss.options, nullptr) << "kinds inside get their options";
  EXPECT_EQ(plan.steps.find("again")->loss.type, "kl_tail");
  EXPECT_EQ(plan.steps.find("nobody"), nullptr);
  const Json written = write_options(plan);
  EXPECT_EQ(written.at("steps").begin().key(), "warm");
  Plan again;
  read_options(written, again);
  EXPECT_EQ(write_options(again).dump(), written.dump());
}

TEST(NamedGroups, AMapReplacesTheDefaultAndAbsenceKeepsIt) {
  Plan plan;
  plan.steps.add("given").length = 7;
  read_options(Json::object(), plan);
  ASSERT_EQ(plan.steps.size(), 1u);
  EXPECT_EQ(plan.steps.find("given")->length, 7);
  EXPECT_NE(plan.steps.find("given")->loss.options, nullptr);
  read_options(json(R"({"steps": {"other": {}}})"), plan);
  EXPECT_EQ(plan.steps.find("given"), nullptr);
  EXPECT_EQ(plan.steps.size(), 1u);
  read_options(json(R"({"steps": {}})"), plan);
  EXPECT_TRUE(plan.steps.empty());
}

TEST(NamedGroups, ErrorsNameTheFullKey) {
  EXPECT_EQ(plan_error(R"({"steps": [1]})"), "steps: expected a map of named groups, found a list");
  EXPECT_EQ(plan_error(R"({"steps": {"a": 3}})"), "steps.a: expected a map of options, found 3");
  EXPECT_EQ(plan_error(R"({"steps": {"a": {"lenght": 3}}})"), "unknown key 'steps.a.lenght'; did you mean 'length'?");
  EXPECT_EQ(plan_error(R"({"steps": {"a": {"batches": {"b": {"sequences": 0}}}}})"),
            "steps.a.batches.b.sequences: 0 is out of range (1 to 1000)");
}

TEST(NamedGroups, AreDocumentedOnceWithTheirDefaults) {
  Plan plan;
  const std::string text = document_options(plan);
  for (const char* part : {"| `steps` | map of named groups, in order | `{}` |  | one after another |",
                           "## `steps.<name>`\n", "| `steps.<name>.length` | integer | `5` | 1 to 100 | how long |",
                           "## `steps.<name>.batches.<name>`", "## `steps.<name>.loss` of type `ce`"})
    EXPECT_NE(text.find(part), std::string::npos) << part << "\nnot in\n" << text;
}

TEST(DocumentOptions, ListsEveryFieldGroupAndKind) {
  Job job;
  const std::string text = document_options(job);
  for (const char* part :
       {"| key | type | default | range or choices | meaning |\n| --- |",
        "| `mode` | text | `fast` | `fast`, `exact` | how |", "| `name` | text | none |  | any text |",
        "## `batch`\nwhat a step sees\n", "| `batch.sequences` | integer | `128` | 1 to 1000 | global |",
        "| `batch.temperatures` | list of numbers | `[1.0,1.5]` | >= 1 | of labels |",
        "| `main` | loss | `ce` | `ce`, `kl_tail` | the one |", "## `main` of type `ce`", "## `main` of type `kl_tail`",
        "| `main.temperature` | number | `2.0` | 1 to 100 | softens both \\| sides |",
        "| `all` | map of named loss entries | `{\"ce\":{}}` | `ce`, `kl_tail` | the many |",
        "The kinds of `all.<name>` and their options are those of `main`."})
    EXPECT_NE(text.find(part), std::string::npos) << part << "\nnot in\n" << text;
}

TEST(DocumentOptions, ShowsDefaultsThatTheOwnerChanged) {
  Job job;
  auto changed = std::make_unique<KlTail>();
  changed->temperature = 4;
  job.all.clear();
  job.all["soft"] = {"kl_tail", std::move(changed)};
  const std::string text = document_options(job);
  EXPECT_NE(text.find(R"({"soft":{"type":"kl_tail","temperature":4.0}})"), std::string::npos) << text;
}

TEST(Nearest, FindsSlipsAndNothingElse) {
  const std::vector<std::string> known{"temperature", "weight", "type", "lr"};
  EXPECT_EQ(nearest("temprature", known), "temperature");
  EXPECT_EQ(nearest("wieght", known), "weight");
  EXPECT_EQ(nearest("typ", known), "type");
  EXPECT_EQ(nearest("lr2", known), "lr");
  EXPECT_EQ(nearest("momentum", known), "");
  EXPECT_EQ(nearest("xy", known), "");
  EXPECT_EQ(nearest("", known), "");
  EXPECT_EQ(nearest("x", {}), "");
}

TEST(Join, Separates) {
  EXPECT_EQ(join({}), "");
  EXPECT_EQ(join({"a"}), "a");
  EXPECT_EQ(join({"a", "b"}), "a, b");
  EXPECT_EQ(join({"a", "a"}, "/"), "a/a");
}

TEST(SetKey, MakesObjectsOnTheWay) {
  Json tree;
  set_key(tree, "a.b.c", 1);
  set_key(tree, "a.d", "x");
  EXPECT_EQ(tree.dump(), R"({"a":{"b":{"c":1},"d":"x"}})");
  set_key(tree, "a.b", nullptr);
  set_key(tree, "a.b.e", 2);  // an empty group becomes a map
  EXPECT_EQ(tree.dump(), R"({"a":{"b":{"e":2},"d":"x"}})");
}

TEST(SetKey, RefusesAStepThatIsNoMap) {
  const auto error_of_set = [](const std::string& key) -> std::string {
    Json tree = json(R"({"model": "sasrec", "n": 3})");
    try {
      set_key(tree, key, 1);
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(error_of_set("n.x"), "cannot set 'n.x': 'n' is 3, not a map");
  EXPECT_EQ(error_of_set("model.dim"),
            "cannot set 'model.dim': 'model' is 'sasrec', not a map; write that as {type: sasrec} to set its options");
  EXPECT_EQ(error_of_set("a..b"), "'a..b' is not a key: it has an empty part");
  EXPECT_EQ(error_of_set(""), "'' is not a key: it has an empty part");
}

TEST(Registry, MakesFromItsOptionsAndRefusesTwins) {
  struct Number : Options {
    std::int64_t value = 3;
    void describe(Fields& fields) override { fields.integer("value", value, {}, ""); }
  };
  Registry<int, int> registry("number");
  registry.add<Number>("plain", [](const Number& options, int more) {
    return std::make_shared<int>(static_cast<int>(options.value) + more);
  });
  KindOptions kind{"plain", registry.options_of("plain")};
  EXPECT_EQ(*registry.make(kind, 4), 7);
  EXPECT_THROW(registry.add<Number>("plain", [](const Number&, int) { return std::make_shared<int>(0); }), ConfigError);
}

}  // namespace
}  // namespace decant::base
