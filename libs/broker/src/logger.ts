/** What this library asks of a logger; pino's signature. It logs transitions, never single messages. */
export interface BrokerLogger {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}
