#include "launch/command_line.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace decant::launch {
namespace {

CommandLine parse(std::vector<const char*> words) {
  words.insert(words.begin(), "decant");
  return parse_command_line(static_cast<int>(words.size()), words.data());
}

std::string refusal(const std::vector<const char*>& words) {
  try {
    static_cast<void>(parse(words));
  } catch (const base::ConfigError& error) {
    return error.what();
  }
  return "nothing was thrown";
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST(CommandLine, StagesTakeAJobFileAndSets) {
  const CommandLine line = parse({"run", "job.yaml", "--set", "a.b=1", "--dry-run", "--set", "c=[1, 2]"});
  EXPECT_EQ(line.command, "run");
  EXPECT_EQ(line.path, "job.yaml");
  EXPECT_EQ(line.sets, (std::vector<std::string>{"a.b=1", "c=[1, 2]"}));
  EXPECT_TRUE(line.dry_run);
  EXPECT_TRUE(line.fault.empty());
}

TEST(CommandLine, SetsMayStandBeforeTheJobFile) {
  const CommandLine line = parse({"label", "--set", "labels.k=-5", "job.yaml", "--fault", "step@3:0"});
  EXPECT_EQ(line.path, "job.yaml");
  EXPECT_EQ(line.sets, std::vector<std::string>{"labels.k=-5"});
  EXPECT_EQ(line.fault, "step@3:0");
}

TEST(CommandLine, ImportIsToldApartByOut) {
  const CommandLine job = parse({"import", "job.yaml", "--set", "a=1"});
  EXPECT_EQ(job.path, "job.yaml");
  EXPECT_TRUE(job.out.empty());
  const CommandLine files =
      parse({"import", "--format", "sequences", "--out", "d", "--k-core", "5", "a.txt", "b.txt", "--on-error", "skip"});
  EXPECT_EQ(files.out, "d");
  EXPECT_EQ(files.files, (std::vector<std::string>{"a.txt", "b.txt"}));
  EXPECT_EQ(files.options.dump(), R"({"format":"sequences","k_core":5,"on_error":"skip"})");
  EXPECT_TRUE(files.path.empty());
  EXPECT_TRUE(has(refusal({"import", "a.txt", "b.txt"}), "--out DIR"));
  EXPECT_TRUE(has(refusal({"import", "job.yaml", "--k-core", "5"}), "--set data.import.k_core"));
  EXPECT_TRUE(has(refusal({"import", "--out", "d"}), "raw files"));
  EXPECT_EQ(parse({"import", "--out", "d", "a.txt", "--set", "items.id=sku"}).sets,
            std::vector<std::string>{"items.id=sku"});
  EXPECT_TRUE(has(refusal({"import", "--out", "d", "a.txt", "--dry-run"}), "--dry-run"));
}

TEST(CommandLine, SynthesizeTakesEveryOptionOfItsStruct) {
  const CommandLine line = parse({"synthesize", "--out", "x", "--users", "10", "--mean-length", "1e1", "--zipf", "-1"});
  EXPECT_EQ(line.options.dump(), R"({"users":10,"mean_length":10.0,"zipf":-1})");
  EXPECT_TRUE(has(refusal({"synthesize", "--users", "10"}), "--out FILE"));
}

TEST(CommandLine, UnknownWordsNameTheNearest) {
  EXPECT_EQ(refusal({"trian-teacher", "x"}), "unknown command 'trian-teacher'; did you mean 'train-teacher'?");
  EXPECT_TRUE(has(refusal({"frobnicate"}), "known: run, import"));
  EXPECT_EQ(refusal({"run", "--dryrun", "job.yaml"}), "run: unknown option '--dryrun'; did you mean '--dry-run'?");
  EXPECT_TRUE(has(refusal({"import", "--out", "d", "--kcore=5", "f"}), "'--kcore'; did you mean '--k-core'?"));
  EXPECT_TRUE(has(refusal({"run", "a.yaml", "b.yaml"}), "unexpected argument 'b.yaml'"));
  EXPECT_TRUE(has(refusal({"run", "job.yaml", "--set"}), "--set"));
  EXPECT_TRUE(has(refusal({"--set", "a=1", "run"}), "a command comes first"));
  EXPECT_TRUE(has(refusal({}), "decant --help"));
  EXPECT_TRUE(has(refusal({"run"}), "job file"));
  EXPECT_TRUE(has(refusal({"inspect"}), "path"));
}

TEST(CommandLine, EveryRefusalIsOneLine) {
  for (const std::vector<const char*>& words : {std::vector<const char*>{},
                                                {"x"},
                                                {"run"},
                                                {"run", "--x"},
                                                {"run", "--set"},
                                                {"import", "--format", "a", "b", "--out"},
                                                {"synthesize", "--out", "a", "--out", "b"},
                                                {"synthesize", "--out", "a", "--users", "[1"}})
    EXPECT_EQ(refusal(words).find('\n'), std::string::npos) << refusal(words);
}

TEST(CommandLine, EveryHelpHasAnExample) {
  EXPECT_TRUE(has(parse({"--help"}).help, "Example"));
  for (const char* command :
       {"run", "import", "train-teacher", "label", "distill", "evaluate", "synthesize", "inspect", "config"}) {
    const std::string help = parse({command, "--help"}).help;
    EXPECT_TRUE(has(help, "Example:\n  ")) << command;
    EXPECT_TRUE(has(help, "decant " + std::string(command))) << command;
    EXPECT_FALSE(has(help, "--fault")) << command << " shows a hidden option";
    EXPECT_FALSE(has(help, "\n\n\n")) << command;
    EXPECT_TRUE(has(parse({"--help"}).help, "\n  " + std::string(command) + " ")) << command;
  }
}

TEST(CommandLine, Version) { EXPECT_EQ(parse({"--version"}).command, "--version"); }

}  // namespace
}  // namespace decant::launch
