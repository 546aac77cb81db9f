//! The host's words as the guest's records. Imports and exports of one WIT package share their types.

use sc_core::controller::{Failure, HttpRequest, HttpResponse, Member, RequestHead, SocketInfo, StartInfo};

use crate::bindings::exports::socketcluster::controller::{
    fetch_answers, http_requests, presence_changes, request_actions,
};
use crate::bindings::socketcluster::controller::types;

/// What is known of a socket.
pub(crate) fn import_socket_info(info: &SocketInfo) -> types::SocketInfo {
    types::SocketInfo {
        id: info.id.0,
        name: info.name.to_string(),
        session: info.session.to_string(),
        address: info.address.to_string(),
        secure: info.secure,
        protocol: info.protocol.to_owned(),
        path: info.path.to_string(),
        query: info.query.to_string(),
        auth: info.auth.as_ref().map(ToString::to_string),
    }
}

/// What another server answered.
pub(crate) fn response(response: &HttpResponse) -> fetch_answers::Response {
    let HttpResponse { status, headers, body } = response.clone();
    fetch_answers::Response { status, headers, body }
}

/// Somebody on a channel.
pub(crate) fn member(member: &Member) -> presence_changes::Member {
    let data = member.data.as_deref().and_then(|data| std::str::from_utf8(data).ok());
    presence_changes::Member {
        id: member.name.clone(),
        socket: member.socket,
        session: member.session.clone(),
        data: data.map(str::to_owned),
    }
}

/// A request.
pub(crate) fn request(request: &HttpRequest) -> http_requests::Request {
    http_requests::Request {
        method: request.method.clone(),
        route: request.route.clone(),
        path: request.path.clone(),
        query: request.query.clone(),
        headers: request.headers.clone(),
        body: request.body.clone(),
        address: request.address.clone(),
        secure: request.secure,
        session: request.session.clone(),
        params: request.params.clone(),
    }
}

/// A request that waits for a verdict.
pub(crate) fn request_head(request: &RequestHead) -> request_actions::Request {
    let RequestHead { method, path, query, headers, address, secure, session } = request.clone();
    request_actions::Request { method, path, query, headers, address, secure, session }
}

/// Why and where an instance starts.
pub(crate) fn start_info(info: &StartInfo) -> types::StartInfo {
    types::StartInfo {
        worker: info.worker,
        workers: info.workers,
        app: info.app.to_string(),
        config: info.config.to_string(),
        cause: info.cause.as_str().to_owned(),
    }
}

/// An error.
pub(crate) fn failure(failure: &Failure) -> types::Failure {
    match failure {
        Failure::Text(text) => types::Failure::Text(text.to_string()),
        Failure::Error { name, message, extra } => types::Failure::Error(types::Problem {
            name: name.as_ref().map(ToString::to_string),
            message: message.to_string(),
            extra: extra.as_ref().map(ToString::to_string),
        }),
    }
}
