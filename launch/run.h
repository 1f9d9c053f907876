// The public entry: decant's command line with your own kinds of models, losses and optimisers beside decant's.
#pragma once

#include "trainer/job.h"

namespace decant {

/// Does what the command line says and returns the exit code (docs/errors.md); throws nothing. A program of your own:
///
///   int main(int argc, char** argv) {
///     auto registries = decant::trainer::default_registries();
///     registries.losses.add<MyOptions>("mine", [](const MyOptions& options) { return std::make_shared<MyLoss>(options); });
///     return decant::run(argc, argv, std::move(registries));
///   }
[[nodiscard]] int run(int argc, char** argv, trainer::Registries registries);

}  // namespace decant
