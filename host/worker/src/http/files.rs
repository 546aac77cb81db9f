//! The static folder: index pages, ranges, ETag and content types by hyper-staticfile; nothing above the folder and
//! nothing whose name starts with a dot.

use std::path::Path;

use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_staticfile::Static;

use super::{Body, method_not_allowed, reads, text};

/// Serves a file of the folder.
pub(super) async fn respond(folder: &Path, request: Request<Incoming>) -> Response<Body> {
    if !reads(request.method().as_str()) {
        return method_not_allowed();
    }
    if is_hidden(request.uri().path()) {
        return not_found();
    }
    match Static::new(folder).serve(request).await {
        Ok(response) if response.status() == StatusCode::NOT_FOUND => not_found(),
        Ok(response) => {
            let mut response = response.map(BodyExt::boxed_unsync);
            let headers = response.headers_mut();
            headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
            response
        }
        Err(error) => {
            tracing::warn!(folder = %folder.display(), error = %error, "a file of the public folder cannot be read");
            text(StatusCode::INTERNAL_SERVER_ERROR, "The file cannot be read.\n")
        }
    }
}

fn not_found() -> Response<Body> {
    text(StatusCode::NOT_FOUND, "There is nothing here.\n")
}

/// Whether a part of the path starts with a dot, however it is encoded.
fn is_hidden(path: &str) -> bool {
    path.split('/').any(|part| {
        let start = part.get(..3).unwrap_or_default();
        part.starts_with('.') || start.eq_ignore_ascii_case("%2e")
    })
}

#[cfg(test)]
mod tests {
    use super::is_hidden;

    #[test]
    fn dotfiles_are_hidden_in_every_spelling() {
        for path in ["/.env", "/a/.git/config", "/%2eenv", "/a/%2E%2E/b", "/.."] {
            assert!(is_hidden(path), "{path}");
        }
        for path in ["/", "/index.html", "/a.b/c", "/a/b.c"] {
            assert!(!is_hidden(path), "{path}");
        }
    }
}
