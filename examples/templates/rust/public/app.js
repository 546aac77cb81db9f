// The page's connection, by the client that the host itself serves. What it can: /sc/client.d.ts
import { connect } from '/sc/client.js';
import { onPing, onSay, show, showMessage, showState } from './page.js';

const client = connect();

client.onState((state) => showState({ open: 'connected', closed: 'disconnected' }[state] ?? state));
client.on('greet', (text) => show('greet', text));
client.on('rand', (number) => show('rand', number));
client.on('pong', ({ count }) => show('pong', count));
client.subscribe('chat').on(showMessage);

onPing(() => client.emit('ping', { at: Date.now() }));
onSay((message) => client.invoke('say', message));
