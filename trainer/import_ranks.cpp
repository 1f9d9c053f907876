#include "trainer/import_ranks.h"

namespace decant::trainer {

data::ImportRanks import_ranks(dist::Communicator& communicator) {
  return {communicator.rank(), communicator.size(), [&communicator](const std::string& mine) {
            communicator.rendezvous();  // ranks may read for much longer than the time-out of a collective
            return communicator.gather_bytes(mine);
          }};
}

}  // namespace decant::trainer
