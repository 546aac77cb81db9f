//! One live instance: which events it has handlers for, and one call at a time under its limits.

use std::sync::Arc;

use sc_core::config::GuestConfig;
use sc_core::controller::{
    CallError, Command, Controller, Event, EventKind, Snapshot, SnapshotError, StartError,
};
use sc_core::ids::Token;
use sc_core::limits::SNAPSHOT_MAX;
use sc_core::log::Occasion;
use wasmtime::Store;

use crate::bindings::exports::socketcluster::controller as wit;
use crate::context::Context;
use crate::error::chain;
use crate::fault;
use crate::lower;
use crate::meter::Meter;
use crate::source::START_FACTOR;
use crate::voice::Voice;

/// Where a component keeps the interfaces it exports; found once per component.
#[derive(Clone)]
pub(crate) struct Exports {
    pub(crate) lifecycle: Option<wit::lifecycle::GuestIndices>,
    pub(crate) state: Option<wit::state::GuestIndices>,
    pub(crate) connections: Option<wit::connections::GuestIndices>,
    pub(crate) messages: Option<wit::messages::GuestIndices>,
    pub(crate) auth_changes: Option<wit::auth_changes::GuestIndices>,
    pub(crate) publications: Option<wit::publications::GuestIndices>,
    pub(crate) subscriptions: Option<wit::subscriptions::GuestIndices>,
    pub(crate) timer_events: Option<wit::timer_events::GuestIndices>,
    pub(crate) client_answers: Option<wit::client_answers::GuestIndices>,
    pub(crate) keyspace_answers: Option<wit::keyspace_answers::GuestIndices>,
    pub(crate) publish_answers: Option<wit::publish_answers::GuestIndices>,
    pub(crate) gaps: Option<wit::gaps::GuestIndices>,
    pub(crate) session_ends: Option<wit::session_ends::GuestIndices>,
    pub(crate) http_requests: Option<wit::http_requests::GuestIndices>,
    pub(crate) presence_changes: Option<wit::presence_changes::GuestIndices>,
    pub(crate) fetch_answers: Option<wit::fetch_answers::GuestIndices>,
    pub(crate) actions: Option<wit::actions::GuestIndices>,
    pub(crate) request_actions: Option<wit::request_actions::GuestIndices>,
    pub(crate) socket_ends: Option<wit::socket_ends::GuestIndices>,
}

/// The same interfaces of one instance.
pub(crate) struct Handlers {
    pub(crate) lifecycle: Option<wit::lifecycle::Guest>,
    pub(crate) state: Option<wit::state::Guest>,
    connections: Option<wit::connections::Guest>,
    messages: Option<wit::messages::Guest>,
    auth_changes: Option<wit::auth_changes::Guest>,
    publications: Option<wit::publications::Guest>,
    subscriptions: Option<wit::subscriptions::Guest>,
    timer_events: Option<wit::timer_events::Guest>,
    client_answers: Option<wit::client_answers::Guest>,
    keyspace_answers: Option<wit::keyspace_answers::Guest>,
    publish_answers: Option<wit::publish_answers::Guest>,
    gaps: Option<wit::gaps::Guest>,
    session_ends: Option<wit::session_ends::Guest>,
    http_requests: Option<wit::http_requests::Guest>,
    presence_changes: Option<wit::presence_changes::Guest>,
    fetch_answers: Option<wit::fetch_answers::Guest>,
    actions: Option<wit::actions::Guest>,
    request_actions: Option<wit::request_actions::Guest>,
    socket_ends: Option<wit::socket_ends::Guest>,
}

macro_rules! every_interface {
    ($apply:ident) => {
        $apply!(
            lifecycle,
            state,
            connections,
            messages,
            auth_changes,
            publications,
            subscriptions,
            timer_events,
            client_answers,
            keyspace_answers,
            publish_answers,
            gaps,
            session_ends,
            http_requests,
            presence_changes,
            fetch_answers,
            actions,
            request_actions,
            socket_ends
        )
    };
}

impl Exports {
    /// Finds what a component exports. An interface of ours that does not fit is an error, not an absence.
    pub(crate) fn find(
        instance: &wasmtime::component::InstancePre<Context>,
        exported: &std::collections::BTreeSet<&'static str>,
    ) -> Result<Self, String> {
        macro_rules! find {
            ($($name:ident),*) => {
                Exports { $($name: if exported.contains(&*stringify!($name).replace('_', "-")) {
                    Some(wit::$name::GuestIndices::new(instance).map_err(|error| chain(&error))?)
                } else {
                    None
                }),* }
            };
        }
        Ok(every_interface!(find))
    }

    pub(crate) fn load(
        &self,
        store: &mut Store<Context>,
        instance: &wasmtime::component::Instance,
    ) -> wasmtime::Result<Handlers> {
        macro_rules! load {
            ($($name:ident),*) => {
                Handlers { $($name: match &self.$name {
                    Some(indices) => Some(indices.load(&mut *store, instance)?),
                    None => None,
                }),* }
            };
        }
        Ok(every_interface!(load))
    }
}

/// Calls a function of an interface, if the component exports that.
macro_rules! call {
    ($interface:expr, |$on:ident| $call:expr) => {
        match &$interface {
            Some($on) => $call.await,
            None => Ok(()),
        }
    };
}

/// A live instance.
pub struct Guest {
    pub(crate) store: Store<Context>,
    pub(crate) handlers: Handlers,
    pub(crate) voice: Voice,
    pub(crate) config: GuestConfig,
    pub(crate) meter: Arc<Meter>,
}

impl Guest {
    /// Makes ready for a call: the next tick is looked at, and what was refused earlier explains nothing any more.
    pub(crate) fn prepare(&mut self, occasion: &(impl Occasion + ?Sized)) {
        self.store.data_mut().quota.begin();
        self.store.set_epoch_deadline(1);
        self.voice.begin(occasion);
    }

    /// Turns what ended a call into the error that the worker gets.
    pub(crate) fn ended(&mut self, error: &wasmtime::Error) -> CallError {
        let refused = self.store.data().quota.was_refused();
        fault::of(error, refused, self.config.memory_max, self.voice.last_lines())
    }

    async fn dispatch(&mut self, event: &Event) -> wasmtime::Result<()> {
        let (store, on) = (&mut self.store, &self.handlers);
        let lowered = |outcome: &'_ Result<Option<String>, sc_core::controller::Failure>| match outcome {
            Ok(data) => Ok(data.clone()),
            Err(error) => Err(lower::failure(error)),
        };
        match event {
            Event::Open(info) => {
                call!(on.connections, |on| on.call_on_open(store, &lower::import_socket_info(info)))
            }
            Event::Resume(info) => {
                call!(on.connections, |on| on.call_on_resume(store, &lower::import_socket_info(info)))
            }
            Event::Close { socket, code, reason } => {
                call!(on.connections, |on| on.call_on_close(store, socket.0, *code, reason))
            }
            Event::Message { socket, event, data, reply } => {
                let reply = reply.map(|reply| reply.0);
                call!(on.messages, |on| on.call_on_message(store, socket.0, event, data.as_ref(), reply))
            }
            Event::Action { action, line, socket, name, data } => {
                let (line, data) = (line.as_str(), data.as_ref());
                call!(on.actions, |on| on.call_on_action(store, action.0, line, socket.0, name, data))
            }
            Event::RequestAction { action, line, name, request } => {
                let (line, request) = (line.as_str(), lower::request_head(request));
                call!(on.request_actions, |on| on
                    .call_on_request_action(store, action.0, line, name, &request))
            }
            Event::SocketEnd { socket } => {
                call!(on.socket_ends, |on| on.call_on_socket_end(store, socket.0))
            }
            Event::AuthChange { socket, auth } => {
                call!(on.auth_changes, |on| on.call_on_auth_change(store, socket.0, auth.as_ref()))
            }
            Event::Publication { channel, data } => {
                call!(on.publications, |on| on.call_on_publication(store, channel, data.as_ref()))
            }
            Event::Subscribe { socket, channel } => {
                call!(on.subscriptions, |on| on.call_on_subscribe(store, socket.0, channel))
            }
            Event::Unsubscribe { socket, channel } => {
                call!(on.subscriptions, |on| on.call_on_unsubscribe(store, socket.0, channel))
            }
            Event::Gap { store: id } => call!(on.gaps, |on| on.call_on_gap(store, *id)),
            Event::SessionLeave { session } => {
                call!(on.session_ends, |on| on.call_on_session_leave(store, session))
            }
            Event::SessionEnd { session } => {
                call!(on.session_ends, |on| on.call_on_session_end(store, session))
            }
            Event::Member { channel, change, member } => {
                let (change, member) = (change.as_str(), lower::member(member));
                call!(on.presence_changes, |on| on.call_on_presence(store, channel, change, &member))
            }
            Event::Request(request) => {
                let token = request.token.0;
                call!(on.http_requests, |on| on.call_on_request(store, token, &lower::request(request)))
            }
            // From here on, events under a token that the instance was given.
            Event::Timer { token, last } => {
                if *last {
                    store.data_mut().end_timer(*token);
                }
                call!(on.timer_events, |on| on.call_on_timer(store, token.0))
            }
            Event::ClientAnswer { to, outcome } => {
                store.data_mut().settle(*to);
                let outcome = lowered(outcome);
                let outcome = outcome.as_ref().map(Option::as_ref);
                call!(on.client_answers, |on| on.call_on_client_answer(store, to.0, outcome))
            }
            Event::Value { to, outcome } => {
                store.data_mut().settle(*to);
                let outcome = lowered(outcome);
                let outcome = outcome.as_ref().map(Option::as_ref);
                call!(on.keyspace_answers, |on| on.call_on_value(store, to.0, outcome))
            }
            Event::Fetched { to, outcome } => {
                store.data_mut().settle(*to);
                let outcome = outcome.as_ref().map(lower::response).map_err(lower::failure);
                call!(on.fetch_answers, |on| on.call_on_fetched(store, to.0, outcome.as_ref()))
            }
            Event::Published { to, outcome } => {
                store.data_mut().settle(*to);
                let outcome = outcome.as_ref().copied().map_err(lower::failure);
                call!(on.publish_answers, |on| on.call_on_published(store, to.0, outcome.as_ref().copied()))
            }
        }
    }
}

impl Controller for Guest {
    fn handles(&self, kind: EventKind) -> bool {
        match kind {
            EventKind::Connections => self.handlers.connections.is_some(),
            EventKind::Actions => self.handlers.actions.is_some(),
            EventKind::RequestActions => self.handlers.request_actions.is_some(),
            EventKind::SocketEnds => self.handlers.socket_ends.is_some(),
            EventKind::Messages => self.handlers.messages.is_some(),
            EventKind::AuthChanges => self.handlers.auth_changes.is_some(),
            EventKind::Publications => self.handlers.publications.is_some(),
            EventKind::Subscriptions => self.handlers.subscriptions.is_some(),
            EventKind::Timers => self.handlers.timer_events.is_some(),
            EventKind::ClientAnswers => self.handlers.client_answers.is_some(),
            EventKind::Values => self.handlers.keyspace_answers.is_some(),
            EventKind::Published => self.handlers.publish_answers.is_some(),
            EventKind::Gaps => self.handlers.gaps.is_some(),
            EventKind::Requests => self.handlers.http_requests.is_some(),
            EventKind::Members => self.handlers.presence_changes.is_some(),
            EventKind::Fetched => self.handlers.fetch_answers.is_some(),
            EventKind::SessionEnds => self.handlers.session_ends.is_some(),
        }
    }

    fn awaits(&self, token: Token) -> bool {
        self.store.data().awaits(token)
    }

    fn outstanding(&self) -> usize {
        self.store.data().outstanding()
    }

    async fn call(&mut self, event: &Event) -> Result<Vec<Command>, CallError> {
        self.prepare(event);
        let (meter, most) = (Arc::clone(&self.meter), self.config.cpu_per_call);
        match meter.run(most, 1, self.dispatch(event)).await {
            Ok(()) => Ok(self.store.data_mut().take_commands()),
            Err(error) => Err(self.ended(&error)),
        }
    }

    async fn snapshot(&mut self) -> Result<Option<Snapshot>, SnapshotError> {
        let Some(state) = self.handlers.state.clone() else { return Ok(None) };
        let (meter, most) = (Arc::clone(&self.meter), self.config.cpu_per_call);
        self.prepare("snapshot");
        let outcome = meter.run(most, START_FACTOR, state.call_snapshot(&mut self.store)).await;
        let (version, data) = match outcome {
            Ok(snapshot) => snapshot,
            Err(error) => return Err(SnapshotError::Failed(self.ended(&error))),
        };
        // What it issued meanwhile would speak for an instance that is about to go.
        self.store.data_mut().take_commands();
        match data.len() {
            bytes if bytes > SNAPSHOT_MAX => Err(SnapshotError::TooLarge { bytes, max: SNAPSHOT_MAX }),
            _ => Ok(Some(Snapshot { version, data })),
        }
    }

    async fn restore(&mut self, snapshot: &Snapshot) -> Result<Vec<Command>, StartError> {
        let Some(state) = self.handlers.state.clone() else { return Ok(Vec::new()) };
        let (meter, most) = (Arc::clone(&self.meter), self.config.cpu_per_call);
        self.prepare("restore");
        let restored = state.call_restore(&mut self.store, snapshot.version, &snapshot.data);
        match meter.run(most, START_FACTOR, restored).await {
            Ok(Ok(())) => Ok(self.store.data_mut().take_commands()),
            Ok(Err(refused)) => Err(StartError::refused(&format!("restore: {refused}"))),
            Err(error) => Err(StartError::Failed(self.ended(&error))),
        }
    }
}
