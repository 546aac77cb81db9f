//! A site that returns without having finished its answer's body, which its standard tells it to do.

use wasip2::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};

struct Site;

impl wasip2::exports::http::incoming_handler::Guest for Site {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let answer = OutgoingResponse::new(Fields::new());
        let body = answer.body().expect("a body");
        ResponseOutparam::set(out, Ok(answer));
        let stream = body.write().expect("a stream");
        stream.blocking_write_and_flush(b"half of ").expect("written");
        if request.path_with_query().as_deref() == Some("/whole") {
            stream.blocking_write_and_flush(b"it").expect("written");
            drop(stream);
            return OutgoingBody::finish(body, None).expect("finished");
        }
        std::mem::forget((stream, body));
    }
}

wasip2::http::proxy::export!(Site);
