/* How exported functions are marked. */
#ifndef MOONCAKE_EXPORT_H
#define MOONCAKE_EXPORT_H

#if defined(__GNUC__) || defined(__clang__)
#define MC_API __attribute__((visibility("default")))
#define MC_DEPRECATED(text) __attribute__((deprecated(text)))
#else
#define MC_API
#define MC_DEPRECATED(text)
#endif

#endif /* MOONCAKE_EXPORT_H */
