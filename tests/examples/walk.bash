# What every transfer_pair example has to do, whatever it is written in.
# shellcheck shell=bash

expect() { # STATUS TEXT COMMAND...
  local wanted=$1 text=$2 status=0 output
  shift 2
  output=$("$@" 2>&1) || status=$?
  echo "$output"
  if [[ $status -ne $wanted || $output != *"$text"* ]]; then
    printf 'ended with %s, not with %s and "%s": %s\n' "$status" "$wanted" "$text" "$*" >&2
    return 1
  fi
}

walk() { # PROGRAM
  expect 0 "verified at both ends" "$1"
  expect 2 "usage: transfer_pair" "$1" nonsense
  # Nobody listens on port 1 of this host.
  expect 1 "127.0.0.1:1" "$1" initiator 127.0.0.1:1
}
