/* Sizes and offsets of store_c.h, as programs compiled against Mooncake's have them. */
#include <store_c.h>

#ifdef __cplusplus
#define EXPECT(what) static_assert(what, #what)
#else
#define EXPECT(what) _Static_assert(what, #what)
#endif

EXPECT(sizeof(mooncake_store_t) == sizeof(void *));
EXPECT(sizeof(mooncake_replicate_config_t) == 32);
EXPECT(offsetof(struct mooncake_replicate_config, replica_num) == 0);
EXPECT(offsetof(struct mooncake_replicate_config, with_soft_pin) == 8);
EXPECT(offsetof(struct mooncake_replicate_config, with_hard_pin) == 12);
EXPECT(offsetof(struct mooncake_replicate_config, preferred_segments) == 16);
EXPECT(offsetof(struct mooncake_replicate_config, preferred_segments_count) == 24);

int main(void) { return 0; }
