//! Calls that a thread waits for: one, or several side by side.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::error::Result;
use crate::fail;
use crate::rpc::Client;
use crate::store::wire::{self, Call};
use crate::sys::clock;

/// One call, and where it goes.
pub struct Outgoing {
    pub to: Arc<Client>,
    pub method: u16,
    pub body: Vec<u8>,
}

impl Outgoing {
    pub fn new<C: Call>(to: &Arc<Client>, call: &C) -> Outgoing {
        Outgoing { to: to.clone(), method: C::METHOD, body: call.encode_to_vec() }
    }
}

/// Calls one, and waits.
pub fn ask<C: Call>(to: &Client, call: &C, deadline_ns: u64) -> Result<C::Reply> {
    wire::decode(&to.call_wait(C::METHOD, &call.encode_to_vec(), deadline_ns)?)
}

struct Answers {
    results: Vec<Option<Result<Vec<u8>>>>,
    missing: usize,
}

/// A thread that sleeps here looks again after this time: calls end at their deadlines only if somebody ticks.
const NAP: Duration = Duration::from_millis(100);

/// Calls all at once, and waits for every answer.
pub fn ask_all(mut calls: Vec<Outgoing>, deadline_ns: u64) -> Vec<Result<Vec<u8>>> {
    let Some(last) = calls.pop() else { return Vec::new() };
    if calls.is_empty() {
        return vec![last.to.call_wait(last.method, &last.body, deadline_ns)];
    }
    let count = calls.len();
    let answers = Answers { results: (0..count).map(|_| None).collect(), missing: count };
    let shared = Arc::new((Mutex::new(answers), Condvar::new()));
    for (index, call) in calls.iter().enumerate() {
        let shared = shared.clone();
        let reply = Box::new(move |result| {
            let mut answers = shared.0.lock();
            answers.results[index] = Some(result);
            answers.missing -= 1;
            if answers.missing == 0 {
                shared.1.notify_one();
            }
        });
        call.to.call(call.method, &call.body, deadline_ns, reply);
    }
    // The last one is received here, and whoever else answers on its connection with it.
    let own = last.to.call_wait(last.method, &last.body, deadline_ns);
    let mut answers = shared.0.lock();
    while answers.missing > 0 {
        shared.1.wait_for(&mut answers, NAP);
        let now = clock::now_ns();
        if answers.missing > 0 && now >= deadline_ns {
            parking_lot::MutexGuard::unlocked(&mut answers, || {
                for call in &calls {
                    call.to.tick(now);
                }
            });
        }
    }
    let unanswered = || Err(fail!(Internal, "a call without an answer"));
    let mut results: Vec<_> =
        answers.results.drain(..).map(|result| result.unwrap_or_else(unanswered)).collect();
    results.push(own);
    results
}
