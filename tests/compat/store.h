/* What tests of Mooncake's store names share: a master, since those names run none. */
#ifndef MC_COMPAT_STORE_H
#define MC_COMPAT_STORE_H

#include "check.h"

#include <mooncake.h>
#include <store_c.h>

static inline mc_master_t *a_master(char address[80]) {
  mc_master_options_t options = mc_master_options_default();
  mc_master_info_t info = mc_master_info_default();
  mc_master_t *master = NULL;
  options.flags = MC_MASTER_FLAG_FOUND;
  EQUAL(MC_OK, mc_master_create(&options, &master));
  EQUAL(MC_OK, mc_master_get_info(master, &info));
  memcpy(address, info.address, 80);
  return master;
}

/* A store that gives so much memory to the master. */
static inline mooncake_store_t a_store(const char *master, uint64_t bytes) {
  mooncake_store_t store = mooncake_store_create();
  CHECK(store != NULL);
  EQUAL(0, mooncake_store_setup(store, "127.0.0.1", "P2PHANDSHAKE", bytes, 16 << 20, "tcp", "", master));
  return store;
}

#endif /* MC_COMPAT_STORE_H */
