//! The static folder: index pages, ranges, ETag and content types by hyper-staticfile; nothing above the folder and
//! nothing whose name starts with a dot.

mod kept;

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper_staticfile::util::FileResponseBuilder;
use hyper_staticfile::{ResolveResult, ResolvedFile, Resolver};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sc_core::log::FAULT;

use self::kept::{Content, Folder};
use super::{Body, full, text};

/// Parts of a file that one request may ask for; who asks for more gets the whole.
const RANGES_MAX: usize = 16;
/// What is written out in the path of a redirect.
const IN_PATHS: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The static folder.
pub(crate) struct Files {
    root: PathBuf,
    resolver: Resolver<Folder>,
}

/// What the folder has for a request.
pub(super) struct Served {
    pub(super) response: Response<Body>,
    /// A page that a person looks at, or news that the one they have is still good.
    pub(super) is_page: bool,
}

impl Files {
    pub(crate) fn new(root: &Path) -> Self {
        Files { root: root.to_owned(), resolver: Resolver::with_opener(Folder::new(root.to_owned())) }
    }

    /// A file of the folder; none when it has none of that path.
    pub(super) async fn respond<B>(&self, request: &Request<B>) -> Option<Served> {
        let found = self.resolver.resolve_request(request).await;
        let other = |response| Served { response, is_page: false };
        let failed = |error: &dyn std::error::Error| {
            let folder = self.root.display();
            tracing::warn!(target: FAULT, %folder, %error, "a file of the public folder cannot be read");
            text(StatusCode::INTERNAL_SERVER_ERROR, "The file cannot be read.\n")
        };
        Some(match found {
            Ok(ResolveResult::Found(file)) => {
                serve(request, file).unwrap_or_else(|error| other(failed(&error)))
            }
            Ok(ResolveResult::IsDirectory { redirect_to }) => other(redirect(request, &redirect_to)),
            Ok(ResolveResult::PermissionDenied) => {
                other(text(StatusCode::FORBIDDEN, "The file may not be read.\n"))
            }
            Ok(ResolveResult::NotFound | ResolveResult::MethodNotMatched) => return None,
            Err(error) => other(failed(&error)),
        })
    }

    /// Whether the folder has a file for the path.
    pub(super) async fn has(&self, target: &str) -> bool {
        match Request::get(target).body(()) {
            Ok(request) => self.respond(&request).await.is_some(),
            Err(_) => false,
        }
    }
}

/// A file, a part of it, or the word that the client's copy is good.
fn serve<B>(request: &Request<B>, file: ResolvedFile<Content>) -> http::Result<Served> {
    let (kind, size, modified) = (file.content_type.clone(), file.size, file.modified);
    let is_page = kind.as_deref().is_some_and(|kind| kind.starts_with("text/html"));
    let mut builder = FileResponseBuilder::new();
    builder.request_parts(request.method(), request.headers());
    builder.range = builder.range.filter(|ranges| ranges.split(',').count() <= RANGES_MAX);
    // The library looks at the date even when there is a tag.
    let since = builder.if_modified_since.take();
    let mut response = builder.build(file)?;
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if is_known(request.headers(), response.headers(), since, modified) {
        return Ok(Served { response: not_modified(response), is_page });
    }
    let headers = response.headers_mut();
    if let Some(kind) = kind.filter(|_| !headers.contains_key(header::CONTENT_TYPE)) {
        headers.insert(header::CONTENT_TYPE, HeaderValue::try_from(kind)?);
    }
    if response.status() == StatusCode::RANGE_NOT_SATISFIABLE {
        let length = HeaderValue::try_from(format!("bytes */{size}"))?;
        response.headers_mut().insert(header::CONTENT_RANGE, length);
    }
    Ok(Served { response: response.map(BodyExt::boxed_unsync), is_page })
}

/// Whether the client has this state of the file. Its date counts only when it names no tag.
fn is_known(
    request: &HeaderMap,
    response: &HeaderMap,
    since: Option<SystemTime>,
    modified: Option<SystemTime>,
) -> bool {
    if !request.contains_key(header::IF_NONE_MATCH) {
        // Dates of HTTP have whole seconds.
        let second = Duration::from_secs(1);
        return since.zip(modified).is_some_and(|(since, modified)| {
            since.checked_add(second).is_some_and(|since| modified < since)
        });
    }
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

/// Sends who asks for a folder as if it were a file to its index.
fn redirect<B>(request: &Request<B>, folder: &str) -> Response<Body> {
    let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut response =
        text(StatusCode::MOVED_PERMANENTLY, "This is a folder: its address ends with a slash.\n");
    let location = format!("{}{query}", utf8_percent_encode(folder, IN_PATHS));
    if let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}
