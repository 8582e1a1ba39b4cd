// One definition: two translation units of one program include everything and exchange its types.
#include "mooncake/mooncake.hpp"

#include "check.hpp"

mooncake::Engine engine_from_the_other_unit();
bool other_unit_reads(const mooncake::Engine& engine);

TEST(an_engine_made_in_one_unit_is_used_in_the_other) {
  mooncake::Engine engine = engine_from_the_other_unit();
  CHECK(engine.info().name == "other-unit");
  CHECK(other_unit_reads(engine));
}

TEST(an_error_thrown_in_one_unit_is_caught_in_the_other) {
  mooncake::Engine engine = engine_from_the_other_unit();
  engine.close();
  CHECK_THROWS(MC_ERR_INVALID_HANDLE, other_unit_reads(engine));
}
