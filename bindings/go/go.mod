module mooncake.dev/go

go 1.21
