//! The static folder: index pages, ranges, ETag and content types by hyper-staticfile; nothing above the folder and
//! nothing whose name starts with a dot.

mod kept;

use std::path::{Path, PathBuf};

use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper_staticfile::Static;

use self::kept::Folder;
use super::{Body, full, text};

/// The static folder.
pub(crate) struct Files {
    root: PathBuf,
    files: Static<Folder>,
}

impl Files {
    pub(crate) fn new(root: &Path) -> Self {
        Files { root: root.to_owned(), files: Static::with_opener(Folder::new(root.to_owned())) }
    }

    /// A file of the folder; none when it has none of that path.
    pub(super) async fn respond<B>(&self, request: &Request<B>) -> Option<Response<Body>> {
        if is_hidden(request.uri().path()) {
            return None;
        }
        let mut asked = Request::new(());
        *asked.method_mut() = request.method().clone();
        *asked.uri_mut() = request.uri().clone();
        *asked.headers_mut() = request.headers().clone();
        match self.files.clone().serve(asked).await {
            Ok(response) if response.status() == StatusCode::NOT_FOUND => None,
            Ok(response) => {
                let mut response = match is_known(request.headers(), response.headers()) {
                    true => not_modified(response),
                    false => response.map(BodyExt::boxed_unsync),
                };
                let headers = response.headers_mut();
                headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
                Some(response)
            }
            Err(error) => {
                let folder = self.root.display();
                tracing::warn!(%folder, error = %error, "a file of the public folder cannot be read");
                Some(text(StatusCode::INTERNAL_SERVER_ERROR, "The file cannot be read.\n"))
            }
        }
    }

    /// Whether the folder has a file for the path.
    pub(super) async fn has(&self, target: &str) -> bool {
        match Request::get(target).body(()) {
            Ok(request) => self.respond(&request).await.is_some(),
            Err(_) => false,
        }
    }
}

/// Whether the client has this state of the file; the library looks at dates only.
fn is_known(request: &HeaderMap, response: &HeaderMap) -> bool {
    let Some(tag) = response.get(header::ETAG).and_then(|tag| tag.to_str().ok()) else { return false };
    let known = request.get_all(header::IF_NONE_MATCH).into_iter().filter_map(|tags| tags.to_str().ok());
    let bare = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    known.flat_map(|tags| tags.split(',')).any(|known| known.trim() == "*" || bare(known) == bare(tag))
}

fn not_modified<B>(response: Response<B>) -> Response<Body> {
    let mut answer = response.map(|_| full(""));
    *answer.status_mut() = StatusCode::NOT_MODIFIED;
    for of_body in [header::CONTENT_LENGTH, header::CONTENT_RANGE, header::CONTENT_TYPE] {
        answer.headers_mut().remove(of_body);
    }
    answer
}

/// Whether an answer is a page that a person looks at.
pub(super) fn is_page<B>(response: &Response<B>) -> bool {
    let is_html = |headers: &HeaderMap| {
        headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"))
    };
    response.status() == StatusCode::OK && is_html(response.headers())
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
