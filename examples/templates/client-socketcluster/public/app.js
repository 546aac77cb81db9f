// The page's connection, by socketcluster-client: https://socketcluster.io
// npm fetches it, and the build command in sc.toml copies it here from node_modules.
import { create } from './socketcluster-client.min.js';
import { onPing, onSay, show, showMessage, showState } from './page.js';

const socket = create();

// Each listener, receiver and channel is a stream.
const each = async (stream, work) => {
  for await (const value of stream) work(value);
};

each(socket.listener('connecting'), () => showState('connecting'));
each(socket.listener('connect'), () => showState('connected'));
each(socket.listener('disconnect'), () => showState('disconnected'));
each(socket.receiver('greet'), (text) => show('greet', text));
each(socket.receiver('rand'), (number) => show('rand', number));
each(socket.receiver('pong'), ({ count }) => show('pong', count));
each(socket.subscribe('chat'), showMessage);

onPing(() => socket.transmit('ping', { at: Date.now() }));
onSay((message) => socket.invoke('say', message));
