//! The conductor as an object that many threads share: index, cost and schedule behind locks, with a clock.
//!
//! ```text
//!   register, report ---->  instances.rs   who serves and who holds, by name and id
//!   open, close --------->  contexts.rs    one index per context; one scheduler per model and block size
//!   events -------------->  intake.rs      what engines and the store have
//!   tokens, keys -------->  find.rs        who has how much of a prompt
//!   requests ------------>  place.rs       where it runs, and what is remembered of that
//!   what happened ------->  ending.rs
//!                           hooks.rs       rules of the caller's own, watched     explain.rs   why
//!   bytes <-------------->  snapshot.rs                                           metrics.rs   how much
//! ```
//!
//! **Locks**, in the order in which they may be held together: the directory (who is there; shared by all calls but those
//! that register, unregister, open and close), an index (shared by matches, alone for events), a scheduler, the live
//! requests. Hooks run with the lock of one scheduler held, and no other: they must be quick, and may not call the
//! conductor, which refuses such calls.

// What it can do, from the outside (all &self, any thread; errors are crate::error::Error):
//
// Conductor::new(options: Options, hooks: Hooks) -> Result<Conductor>          put it into an Arc
// register(&self, &Registration) -> Result<InstanceId>                        again with the same name: updates cost and
//                                                                             ranks (more ranks or fewer), same id
// unregister(&self, name: &str) -> Result<()>                                 NotFound if there is none
// instance(&self, name: &str) -> Result<InstanceId>
// instance_info(&self, InstanceId) -> Result<InstanceInfo>;  instances(&self) -> Vec<InstanceInfo>
// report(&self, InstanceId, rank: u32, &schedule::Report) -> Result<()>
// open_context(&self, &Context) -> Result<ContextId>                          idempotent
// close_context(&self, ContextId) -> Result<()>
// context_info(&self, ContextId) -> Result<ContextInfo>;  contexts(&self) -> Vec<ContextInfo>
// apply(&self, ContextId, &[Event<'_>]) -> Result<Applied>
// clear(&self, InstanceId, rank: u32) -> Result<()>                           all its blocks, in all contexts (resync)
// keys(&self, ContextId, tokens: &[u32]) -> Result<Vec<u64>>
// find(&self, ContextId, Prompt<'_>, out: &mut Vec<Match>) -> Result<u32>      how many full blocks were asked for
// schedule(&self, &Request<'_>) -> Result<Answer>
// recheck(&self, RequestId) -> Result<Option<Rejection>>                      with Admission::Load: room to decode?
// request(&self, name: &str) -> Result<RequestId>
// feedback(&self, RequestId, Feedback) -> Result<()>
// explain(&self, RequestId) -> Result<String>                                 JSON
// explain_request(&self, &Request<'_>) -> Result<String>                      JSON, of what would be decided
// take_advice(&self, most: usize) -> Vec<Advice>
// snapshot(&self) -> Vec<u8>;  restore(&self, &[u8]) -> Result<Restored>       into an empty conductor
// metrics(&self) -> String                                                    Prometheus text
// sweep(&self)                                                                lets time pass; call it about once a second
