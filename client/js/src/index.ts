// What the package exports. Classes that only the SDK makes are exported as types.
export { connect } from "./client.ts";
export type { Relay } from "./client.ts";
export type { Channel, Published } from "./channel.ts";
export type { CertHash, ConnectOptions } from "./options.ts";
export type { GetToken } from "./tokens.ts";
export type { State, StateChange } from "./state.ts";
export type { Carrier } from "./session.ts";
export type { Position } from "./position.ts";
export type { From } from "./start.ts";
export type { Headers, Message, Outgoing } from "./message.ts";
export type { Gap, SubscribeOptions, Subscribed, Subscription, SubscriptionEvents } from "./subscription.ts";
export type { GapReason } from "./link.ts";
export type { HistoryOptions } from "./history.ts";
export type { WebSocketConstructor, WebSocketLike } from "./websocket.ts";
export type { WebTransportConstructor, WebTransportLike } from "./webtransport.ts";
export {
  BadRequestError, BusyError, ClosedError, ConflictError, ConnectionError, ForbiddenError,
  MeridianError, ProtocolError, TooLargeError, UnauthorizedError, UnknownOutcomeError,
} from "./errors.ts";
