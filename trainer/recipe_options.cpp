#include "trainer/recipe_options.h"

namespace decant::trainer {

void AugmentOptions::describe(base::Fields& fields) {
  fields.real("rate", rate, {0, 1}, "share of the rows of a step that are augmented; 0: none");
  fields.real("crop", crop, {0, 1}, "share of the events that a crop keeps, in one piece; 0: no crops");
  fields.real("mask", mask, {0, 0.95}, "share of the events that a mask takes out; 0: no masks");
  fields.real("reorder", reorder, {0, 1}, "share of the events, in one piece, that a reorder shuffles; 0: none");
}

void PerturbationOptions::describe(base::Fields& fields) {
  fields.real("epsilon", epsilon, {0, 1e3}, "length of the shift of a sequence's item vectors; 0: no second pass");
  fields.real("weight", weight, {0, 1e3}, "of the losses of the second pass, beside those of the first");
}

void BalanceOptions::describe(base::Fields& fields) {
  fields.text("kind", kind, "gradient_norm: scale every loss so that its gradient is as long as the reference's",
              {"none", "gradient_norm"});
  fields.text("reference", reference, "the loss, by its name in 'losses', that keeps its size");
  fields.integer("every", every, {1, 1e9}, "steps between measurements, which cost a backward pass for every loss");
  fields.real("smoothing", smoothing, {0, 0.999}, "share that the old scale keeps, by geometric mean");
}

void ScreeningOptions::describe(base::Fields& fields) {
  fields.real("least_probability", least_probability, {0, 1},
              "a label contradicts the data when the teacher gives the observed item less; 0: not looked at");
  fields.integer("most_rank", most_rank, {0, 1e6},
                 "a label contradicts the data when the observed item is not among so many best; 0: not looked at");
  fields.real("most_probability", most_probability, {0, 1},
              "a label is over-confident when the teacher gives the observed item more; 1: not looked at");
  fields.real("keep", keep, {0, 1}, "factor of what such labels weigh; 0: they are dropped");
}

}  // namespace decant::trainer
