/** The client of sc-host: SocketCluster's modern protocol, version 2, for browsers and Node. */

/** All times are in milliseconds. */
export interface Options {
  /** The whole address, such as `wss://example.com/socketcluster/`. Beats `host`, `secure` and `path`. */
  url?: string;
  /** Host and port. Default: the page's, else `localhost:8000`. */
  host?: string;
  /** `wss` instead of `ws`. Default: as the page. */
  secure?: boolean;
  /** Default `/socketcluster/`; the server compares it exactly. */
  path?: string;
  /** Added to the address; arrays repeat their key. */
  query?: Record<string, string | string[]>;
  /** Connect at once. Default true. */
  autoConnect?: boolean;
  /** When to try again; false for never. After 1000 and 4500 or higher there is no next time. */
  reconnect?: ReconnectRules | false;
  /** For connection and handshake together. Default 20000. */
  connectTimeout?: number;
  /** For answers. Default 10000. */
  ackTimeout?: number;
  /** Messages that may wait for a connection; one more throws BufferFullError. Default 1000. */
  bufferMax?: number;
  /** Do not close when the server's pings stay away. Default false. */
  pingTimeoutDisabled?: boolean;
  /** Key of the token in its storage. Default `socketcluster.authToken.<host>`. */
  authTokenName?: string;
  /** Where the token is kept. Default `localStorage`; null for memory only. */
  storage?: Pick<Storage, 'getItem' | 'setItem' | 'removeItem'> | null;
  /** A class to use in place of the global WebSocket; for Node before 22, the one of the package `ws`. */
  WebSocket?: new (url: string) => unknown;
}

/** The nth pause is `(initialDelay + randomness * random) * multiplier ** n`, at most `maxDelay`. */
export interface ReconnectRules {
  /** Default 1000. */
  initialDelay?: number;
  /** Default 1000. */
  randomness?: number;
  /** Default 1.5. */
  multiplier?: number;
  /** Default 60000. */
  maxDelay?: number;
}

export type State = 'closed' | 'connecting' | 'open';
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
/** Ends what it was returned for. */
export type Off = () => void;

export interface StateDetails {
  /** Why it closed. */
  code?: number;
  reason?: string;
  /** Milliseconds until the next attempt; absent when there is none. */
  retryIn?: number;
}

/** What failed calls reject with. `name` tells the kind; extra members of a server's error are kept. */
export class ClientError extends Error {
  constructor(name: string, message: string, extra?: object);
  [extra: string]: unknown;
}

export interface Client {
  readonly state: State;
  /** The socket's id, as the server calls it; null while not open. */
  readonly id: string | null;
  readonly url: string;
  /** Whether the server took our token. Survives a broken connection. */
  readonly isAuthenticated: boolean;
  /** Claims of the token; null while unauthenticated. */
  readonly authToken: Record<string, unknown> | null;
  /** The stored token, taken or not. */
  readonly signedAuthToken: string | null;

  /** Connects now, if it is not connected or connecting. */
  connect(): void;
  /** Closes for good: no reconnection until another call asks for one. */
  disconnect(code?: number, reason?: string): void;
  /** Resolves when the connection is open; rejects when it has closed for good. */
  opened(): Promise<void>;
  onState(listener: (state: State, details: StateDetails) => void): Off;
  /** Claims at each authentication, null at each deauthentication. */
  onAuth(listener: (claims: Record<string, unknown> | null) => void): Off;
  /** Errors that belong to no call. Without a listener they go to the console. */
  onError(listener: (error: Error) => void): Off;

  on<T = any>(event: string, listener: (data: T) => void): Off;
  off(event: string, listener?: (data: any) => void): void;
  /** Sends an event; nothing answers it. While not connected it waits, in order. */
  emit(event: string, data?: unknown): void;
  /** Resolves with the server's answer. Rejects with its error, a TimeoutError or a BadConnectionError. */
  invoke<T = any>(event: string, data?: unknown, options?: { timeout?: number }): Promise<T>;
  /** Answers the server's questions with what the function returns, or the error it throws. */
  answer(event: string, answerer: (data: any) => unknown): Off;

  /** Subscribes, and again after each reconnection. The same name gives the same channel. */
  subscribe<T = any>(name: string, options?: SubscribeOptions): Channel<T>;
  unsubscribe(name: string): void;
  publish(channel: string, data?: unknown): void;
  /** Resolves when the server took the publication. */
  publishAndWait(channel: string, data?: unknown): Promise<void>;

  /** Resolves with whether the server took the token; rejects when the token is bad. */
  authenticate(token: string): Promise<boolean>;
  /** Gives the token up, here and on the server. */
  deauthenticate(): void;
}

export interface SubscribeOptions {
  /** Wait until authenticated. */
  waitForAuth?: boolean;
  /** For the server's controller. */
  data?: unknown;
}

export interface Channel<T = any> extends AsyncIterable<T> {
  readonly name: string;
  readonly state: 'pending' | 'subscribed' | 'unsubscribed';
  on(listener: (data: T) => void): Off;
  on(event: 'subscribe' | 'unsubscribe', listener: () => void): Off;
  on(event: 'subscribeFail', listener: (error: Error) => void): Off;
  on(event: 'kickOut', listener: (message?: string) => void): Off;
  /** Resolves when the server took the subscription; rejects when it refused. */
  subscribed(): Promise<void>;
  unsubscribe(): void;
}

/** Connects to a host. In a browser no option is needed: the page's own host is meant. */
export function connect(options?: Options): Client;
