#include "launch/run.h"

int main(int argc, char** argv) { return decant::run(argc, argv, decant::trainer::default_registries()); }
