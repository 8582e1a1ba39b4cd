//! What second processes do: the peer, which copies on command, and the owner, which offers memory.

use std::sync::Arc;

use mooncake::transport::{Opcode, Outcome, Path};

use crate::world::*;

#[test]
#[ignore = "played by the second processes of the other tests"]
fn part() {
    match super::world::part().as_deref() {
        Some("peer") => peer(),
        Some("owner") => owner(),
        Some("engine") => crate::engines::play_engine(),
        _ => panic!("started by nobody"),
    }
}

/// Attaches, then obeys: `VERB PATH KEY ADDRESS LENGTH [BYTE]`.
fn peer() {
    let end = End::new();
    let words = listen().expect("an offer");
    let (id, offer) = offer_of(&words);
    let attached = match end.attach(id, &offer) {
        Ok(attached) => attached,
        Err(error) => return say(&format!("refused {error}")),
    };
    let refusal = attached.attachment.cma_refusal().unwrap_or_else(|| "none".into());
    say(&format!("attached {refusal}"));
    while let Some(words) = listen() {
        let path = if words[1] == "memfd" { attached.memfd() } else { attached.cma() };
        let target = target_of(&words[2..]);
        let byte = words.get(5).map_or(0, |byte| byte.parse().expect("a byte"));
        obey(&words[0], &path, target, byte);
    }
}

fn obey(verb: &str, path: &Arc<dyn Path>, target: Target, byte: u8) {
    let bytes = vec![byte; target.mem.len()];
    let write = || Job::new(vec![slice(Opcode::Write, &bytes, target, 0)]);
    match verb {
        "write" => say(&format!("wrote {:?}", write().submit(path).wait()[0])),
        // Copies until it is not allowed any more.
        "write-on" => {
            let mut count = 0;
            loop {
                match write().submit(path).wait()[0] {
                    Outcome::Done => count += 1,
                    outcome => return say(&format!("ended {outcome:?} {}", count > 0)),
                }
                if count == 1 {
                    say("writing");
                }
            }
        }
        "stop-in-copy" => {
            let job = write().in_copy(|| signal_self(libc::SIGSTOP));
            say(&format!("wrote {:?}", job.submit(path).wait()[0]));
        }
        "die-in-copy" => {
            write().in_copy(|| signal_self(libc::SIGKILL)).submit(path);
        }
        other => panic!("cannot {other}"),
    }
}

/// The thread that calls takes the signal before this returns.
fn signal_self(signal: i32) {
    // SAFETY: plain numbers.
    unsafe { libc::raise(signal) };
}

/// Offers a region that can be mapped and one that cannot, both filled with 1; then does what it is told.
fn owner() {
    const LENGTH: usize = 1 << 20;
    let end = End::new();
    let mapped = end.allocate(LENGTH, BOTH);
    mapped.mem.fill(1);
    let ordinary = end.register(lasting(LENGTH, 1));
    let offer = end.host.offer().expect("listening");
    say(&format!("offer {}", offer_words(end.id, &offer)));
    say(&format!("mapped {}", target_words(mapped)));
    say(&format!("ordinary {}", target_words(ordinary)));
    while let Some(words) = listen() {
        let byte = words.get(1).map_or(0, |byte| byte.parse().expect("a byte"));
        match words[0].as_str() {
            "look" => say(&format!("saw {} {}", is_filled(mapped.mem, byte), is_filled(ordinary.mem, byte))),
            "free" => {
                end.memory.free(mapped.id, true).expect("free");
                end.memory.unregister(ordinary.id, true).expect("unregister");
                say("freed");
            }
            // The pages go, the registration stays: what no application should do.
            "unmap" => {
                // SAFETY: nobody of this process touches the range again.
                unsafe { libc::mprotect(ordinary.mem.address() as *mut _, LENGTH, libc::PROT_NONE) };
                say("unmapped");
            }
            other => panic!("cannot {other}"),
        }
    }
}
