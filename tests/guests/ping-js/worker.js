// Counts pings, on plain bindings: all of a controller in JavaScript.
import { listen } from 'socketcluster:controller/setup@0.1.0';
import { emit } from 'socketcluster:controller/sockets@0.1.0';
let count = 0;
export const lifecycle = { onStart() { listen('ping'); } };
export const messages = { onMessage(socket) { emit(socket, 'pong', JSON.stringify({ count: ++count })); } };
