//! Memory is bounded by the batch: decoding and folding a full invocation takes at most four
//! times its payload, the payload included.

#![allow(clippy::unwrap_used, missing_docs)]

use peak_alloc::PeakAlloc;
use tidemark_benches::{invocation, values};
use tidemark_model::fold::{effects, fold};
use tidemark_model::{Map, Settings, decode};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

#[test]
fn a_full_invocation_takes_at_most_four_times_its_payload() {
    let payload = invocation(&values(0));
    let before = HEAP.current_usage();
    HEAP.reset_peak_usage();
    let batches = decode(&payload, &Settings::default()).unwrap();
    let rows = effects(&fold(&batches.first().unwrap().changes, &Map::default()).transitions).into_sorted();
    let taken = HEAP.peak_usage() - before + payload.len();
    println!("{:.2} times the payload", taken as f64 / payload.len() as f64);
    assert!(!rows.is_empty() && taken <= 4 * payload.len(), "{taken} bytes for a payload of {}", payload.len());
}
