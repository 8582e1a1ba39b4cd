/* Options with nothing asked for. They are functions of the header, so that struct_size is the size which the caller
 * was compiled with. */
#ifndef MOONCAKE_DEFAULTS_H
#define MOONCAKE_DEFAULTS_H

#include <string.h>

#include "mooncake/api.h"

#define MC_DEFINE_DEFAULT(type)                 \
  static inline type##_t type##_default(void) { \
    type##_t value;                             \
    memset(&value, 0, sizeof value);            \
    value.struct_size = (uint32_t)sizeof value; \
    return value;                               \
  }

/* Options: mc_engine_options_default() and so on. */
MC_DEFINE_DEFAULT(mc_engine_options)
MC_DEFINE_DEFAULT(mc_memory_options)
MC_DEFINE_DEFAULT(mc_batch_options)
MC_DEFINE_DEFAULT(mc_cq_options)
MC_DEFINE_DEFAULT(mc_store_options)
MC_DEFINE_DEFAULT(mc_store_put_options)
MC_DEFINE_DEFAULT(mc_store_get_options)
MC_DEFINE_DEFAULT(mc_master_options)
MC_DEFINE_DEFAULT(mc_node_options)
MC_DEFINE_DEFAULT(mc_conductor_options)
MC_DEFINE_DEFAULT(mc_conductor_hooks)
MC_DEFINE_DEFAULT(mc_conductor_instance_options)
MC_DEFINE_DEFAULT(mc_conductor_context_options)
MC_DEFINE_DEFAULT(mc_conductor_report)
MC_DEFINE_DEFAULT(mc_conductor_request)

/* Structs that a call fills: mc_engine_info_default() and so on. */
MC_DEFINE_DEFAULT(mc_engine_info)
MC_DEFINE_DEFAULT(mc_engine_stats)
MC_DEFINE_DEFAULT(mc_memory_info)
MC_DEFINE_DEFAULT(mc_segment_info)
MC_DEFINE_DEFAULT(mc_probe)
MC_DEFINE_DEFAULT(mc_batch_info)
MC_DEFINE_DEFAULT(mc_notify_info)
MC_DEFINE_DEFAULT(mc_store_info)
MC_DEFINE_DEFAULT(mc_store_task_info)
MC_DEFINE_DEFAULT(mc_store_usage)
MC_DEFINE_DEFAULT(mc_master_info)
MC_DEFINE_DEFAULT(mc_node_info)
MC_DEFINE_DEFAULT(mc_conductor_info)
MC_DEFINE_DEFAULT(mc_conductor_cost)
MC_DEFINE_DEFAULT(mc_conductor_instance_info)
MC_DEFINE_DEFAULT(mc_conductor_decision)

#undef MC_DEFINE_DEFAULT

#endif /* MOONCAKE_DEFAULTS_H */
