/* Sizes, offsets and numbers of the header, as programs compiled against Mooncake's have them. Compiled with ours, and
 * with Mooncake's own where MOONCAKE_UPSTREAM names a checkout. */
#include <transfer_engine_c.h>

#ifdef __cplusplus
#define EXPECT(what) static_assert(what, #what)
#else
#define EXPECT(what) _Static_assert(what, #what)
#endif

EXPECT(sizeof(transfer_request_t) == 40);
EXPECT(offsetof(struct transfer_request, opcode) == 0);
EXPECT(offsetof(struct transfer_request, source) == 8);
EXPECT(offsetof(struct transfer_request, target_id) == 16);
EXPECT(offsetof(struct transfer_request, target_offset) == 24);
EXPECT(offsetof(struct transfer_request, length) == 32);

EXPECT(sizeof(transfer_status_t) == 16);
EXPECT(offsetof(struct transfer_status, status) == 0);
EXPECT(offsetof(struct transfer_status, transferred_bytes) == 8);

EXPECT(sizeof(notify_msg_t) == 16);
EXPECT(offsetof(struct notify_msg, name) == 0);
EXPECT(offsetof(struct notify_msg, msg) == 8);

EXPECT(sizeof(buffer_entry_t) == 16);
EXPECT(offsetof(struct buffer_entry, addr) == 0);
EXPECT(offsetof(struct buffer_entry, length) == 8);

EXPECT(sizeof(nic_load_stat_t) == 80);
EXPECT(offsetof(struct nic_load_stat, device_name) == 0);
EXPECT(offsetof(struct nic_load_stat, inflight_bytes) == 64);
EXPECT(offsetof(struct nic_load_stat, ewma_bandwidth_bps) == 72);

EXPECT(sizeof(segment_desc_t) == 48);
EXPECT(offsetof(struct segment_desc, type) == 0);
EXPECT(offsetof(struct segment_desc, desc_) == 8);
EXPECT(offsetof(struct segment_desc, desc_.rdma.location) == 24);
EXPECT(offsetof(struct segment_desc, desc_.nvmeof.port) == 40);

EXPECT(sizeof(transfer_engine_t) == sizeof(void *));
EXPECT(sizeof(segment_handle_t) == 4 && sizeof(segment_id_t) == 4 && sizeof(batch_id_t) == 8);
EXPECT((segment_id_t)-1 < 0 && (batch_id_t)-1 > 0);
EXPECT(LOCAL_SEGMENT == 0 && INVALID_BATCH == UINT64_MAX);
EXPECT(OPCODE_READ == 0 && OPCODE_WRITE == 1);
EXPECT(STATUS_WAITING == 0 && STATUS_PENDING == 1 && STATUS_INVALID == 2 && STATUS_CANCELED == 3);
EXPECT(STATUS_COMPLETED == 4 && STATUS_TIMEOUT == 5 && STATUS_FAILED == 6);

#if !defined segment_handle_t || !defined segment_id_t || !defined batch_id_t
#error "programs test for these macros"
#endif

int main(void) { return 0; }
