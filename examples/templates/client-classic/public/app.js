// The page's connection, by socketcluster-client 0.9, a script that puts `socketCluster` on the page. npm fetches it,
// and the build command in sc.toml copies it here from node_modules.
import { onPing, onSay, show, showMessage, showState } from './page.js';

const { hostname, protocol, port } = location;
const secure = protocol === 'https:';
const socket = socketCluster.connect({ hostname, secure, port: port || (secure ? 443 : 80) });

socket.on('connect', () => showState('connected'));
socket.on('disconnect', () => showState('disconnected'));
socket.on('error', (error) => console.warn(error)); // also what a request is refused with
socket.on('greet', (text) => show('greet', text));
socket.on('rand', (number) => show('rand', number));
socket.on('pong', ({ count }) => show('pong', count));

// A publication is an event of its channel's name.
socket.subscribe('chat');
socket.on('chat', showMessage);

onPing(() => socket.emit('ping', { at: Date.now() }));
onSay((message) => new Promise((resolve, reject) => {
  socket.emit('say', message, (error, answer) => (error ? reject(error) : resolve(answer)));
}));
