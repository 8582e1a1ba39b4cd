/* Mooncake's store by its own header and library, and nothing else. */
#include <stdio.h>
#include <store_c.h>

int main(void) {
  mooncake_store_t store = mooncake_store_create();
  int health = mooncake_store_health_check(store);
  mooncake_store_destroy(store);
  printf("health %d\n", health);
  return health == 1 ? 0 : 1;
}
