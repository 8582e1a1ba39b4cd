module mooncake.dev/examples

go 1.21

require mooncake.dev/go v0.0.0

replace mooncake.dev/go => ../../bindings/go
