/* Is a text well-formed JSON? A recogniser by descent: it stores nothing. */
#ifndef MC_TEST_JSON_H
#define MC_TEST_JSON_H

#include "check.h"

#include <ctype.h>

static inline const char *json_space(const char *at) {
  while (*at == ' ' || *at == '\n' || *at == '\t' || *at == '\r') at++;
  return at;
}

/* Each returns what follows, or NULL. */
static inline const char *json_text(const char *at) {
  if (*at++ != '"') return NULL;
  for (; *at != '"'; at++) {
    if ((unsigned char)*at < 0x20) return NULL;
    if (*at == '\\' && strchr("\"\\/bfnrtu", *++at) == NULL) return NULL;
  }
  return at + 1;
}

static inline const char *json_number(const char *at) {
  if (*at == '-') at++;
  if (!isdigit((unsigned char)*at)) return NULL;
  while (isdigit((unsigned char)*at) || strchr(".eE+-", *at) != NULL) {
    if (*at == 0) break;
    at++;
  }
  return at;
}

static inline const char *json_value(const char *at, int depth) {
  at = json_space(at);
  if (depth > 64) return NULL;
  if (*at == '"') return json_text(at);
  if (*at == '{' || *at == '[') {
    char close = *at == '{' ? '}' : ']';
    at = json_space(at + 1);
    if (*at == close) return at + 1;
    for (;;) {
      if (close == '}') {
        at = json_text(json_space(at));
        if (at == NULL) return NULL;
        at = json_space(at);
        if (*at++ != ':') return NULL;
      }
      at = json_value(at, depth + 1);
      if (at == NULL) return NULL;
      at = json_space(at);
      if (*at == close) return at + 1;
      if (*at++ != ',') return NULL;
    }
  }
  if (strncmp(at, "true", 4) == 0 || strncmp(at, "null", 4) == 0) return at + 4;
  if (strncmp(at, "false", 5) == 0) return at + 5;
  return json_number(at);
}

static inline bool is_json(const char *text) {
  const char *end = json_value(text, 0);
  return end != NULL && *json_space(end) == 0;
}

#endif /* MC_TEST_JSON_H */
