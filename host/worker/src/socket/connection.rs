//! An upgraded connection: WebSocket messages over a client's stream. Nothing here waits; what the stream does not
//! take now stays with the codec.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use sc_core::config::ClientConfig;
use tokio::io::{AsyncRead as _, ReadBuf};
use tungstenite::error::Error as WsError;
use tungstenite::protocol::{CloseFrame, Message, Role, WebSocketConfig, WebSocketContext};

use crate::stream::{ClientStream, Codec};

/// Bytes given to the codec before it must write them.
const WRITE_BATCH: usize = 64 * 1024;
/// The codec's own read buffer; reads from the connection go through one larger buffer that all sockets share.
const CODEC_READ_BUFFER: usize = 512;

/// The connection. Its cells are borrowed for single reads and writes, never over an await.
pub(crate) struct Connection {
    stream: RefCell<ClientStream>,
    codec: RefCell<WebSocketContext>,
}

impl Connection {
    /// Texts of classic clients may be encoded twice, and begin with a digit: what they say has its limit once it is
    /// read.
    pub(crate) fn new(stream: ClientStream, config: &ClientConfig, is_classic: bool) -> Self {
        let most = config.max_payload;
        let most = if is_classic { most.saturating_mul(2).saturating_add(1) } else { most };
        let limits = WebSocketConfig::default()
            .read_buffer_size(CODEC_READ_BUFFER)
            .write_buffer_size(WRITE_BATCH)
            .max_write_buffer_size(usize::MAX)
            .max_message_size(Some(most))
            .max_frame_size(Some(most));
        Connection {
            stream: RefCell::new(stream),
            codec: RefCell::new(WebSocketContext::new(Role::Server, Some(limits))),
        }
    }

    /// The next message among the bytes; none when they are used up.
    pub(crate) fn decode(&self, input: &mut &[u8]) -> Result<Option<Message>, WsError> {
        let output = self.stream.borrow();
        let mut stream = Codec { input, output: &output };
        let read = self.codec.borrow_mut().read(&mut stream);
        *input = stream.input;
        match read {
            Ok(message) => Ok(Some(message)),
            Err(WsError::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Does something to the codec, which writes to the stream.
    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut WebSocketContext, &mut Codec<'_, '_>) -> R) -> R {
        let (mut codec, output) = (self.codec.borrow_mut(), self.stream.borrow());
        act(&mut codec, &mut Codec { input: &[], output: &output })
    }

    /// Writes one message, or what of it the stream takes.
    pub(crate) fn send(&self, message: Message) -> Result<(), WsError> {
        self.with(|codec, stream| {
            codec.write(stream, message)?;
            codec.flush(stream)
        })
    }

    /// Begins to close.
    pub(crate) fn close(&self, frame: Option<CloseFrame>) {
        // A connection that is gone needs no close frame.
        let _ = self.with(|codec, stream| codec.close(stream, frame));
    }

    pub(crate) fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream.borrow_mut()).poll_read(cx, buffer)
    }

    pub(crate) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.borrow().poll_writable(cx)
    }
}
