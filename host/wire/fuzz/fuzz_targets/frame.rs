//! Whatever comes over a link between processes: taking frames off it never panics, and what was taken and understood
//! is understood again once it is written.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use sc_wire::frame;
use sc_wire::store::{Reply, Request};

const LIMIT: usize = 4096;

fuzz_target!(|bytes: &[u8]| {
    let mut buffer = BytesMut::from(bytes);
    while let Ok(Some(taken)) = frame::take(&mut buffer, LIMIT) {
        if let Ok(request) = frame::decode::<Request>(&taken) {
            let mut again = BytesMut::new();
            if frame::put(&mut again, &request, LIMIT).is_ok() {
                let taken = frame::take(&mut again, LIMIT).expect("a frame").expect("whole");
                assert_eq!(frame::decode::<Request>(&taken).expect("the same"), request);
            }
        }
        let _ = frame::decode::<Reply>(&taken);
    }
});
