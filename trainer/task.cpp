#include "trainer/task.h"

#include "trainer/sharing.h"

namespace decant::trainer {

NamedLoss name_loss(const std::string& name, const base::Options& options, std::shared_ptr<Loss> loss) {
  NamedLoss named{name, 1, std::move(loss)};
  if (const auto* general = dynamic_cast<const LossOptions*>(&options)) {
    named.start = general->weight, named.schedule = general->weight_schedule;
    named.schedule.check("losses." + name + ".weight_schedule");
    named.factor = named.schedule.at(named.start, 0);
  }
  if (!named.loss->needs().labels) return named;
  named.sets = {"teacher"};
  if (const auto* labelled = dynamic_cast<const LabelLossOptions*>(&options)) {
    named.sets = labelled->labels;
    if (named.sets.empty()) throw base::ConfigError("'losses." + name + ".labels' is empty");
    if (named.sets.size() == 1 && labelled->sharing != "fixed")
      throw base::ConfigError("'losses." + name + ".sharing: " + labelled->sharing +
                              "' is among several label sets, and it has one");
    if (named.sets.size() > 1) named.sharing = std::make_shared<Sharing>(*labelled);
  }
  return named;
}

}  // namespace decant::trainer
