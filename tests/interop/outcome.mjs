// Loaded into aimock: "/expired/v1/batches" asks for batches that expire. A test can choose the
// address that our keys use, and not the header by which aimock is asked for an outcome.
import { Server } from "node:http";

const PREFIX = /^\/(completed|failed|expired|cancelled)(\/.*)$/;
const emit = Server.prototype.emit;

Server.prototype.emit = function (event, request, ...rest) {
  const found = event === "request" && PREFIX.exec(request.url);
  if (found) {
    [, request.headers["x-aimock-batch-outcome"], request.url] = found;
  }
  return emit.call(this, event, request, ...rest);
};
