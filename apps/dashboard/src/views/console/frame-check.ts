import { parseControl, parseControlResult } from '@fleetwire/contracts/command-frames';
import { parseDeviceFrame } from '@fleetwire/contracts/device-protocol';
import { parseSubscribe, parseUnsubscribe } from '@fleetwire/contracts/subscription';

/** What the contract says of a frame: nothing, or which field is wrong and why. Loaded when it is needed, as the schemas are large. */
export function issueOfFrame(text: string, now: number): string | undefined {
  const parsed = parseDeviceFrame(text, now);
  if (!parsed.ok) return parsed.issue.message;
  const { value } = parsed;
  switch (value.type) {
    case 'telemetry':
      return value.telemetry.issues[0]?.issue.message;
    case 'subscribe':
      return issueOf(parseSubscribe(value.frame));
    case 'unsubscribe':
      return issueOf(parseUnsubscribe(value.frame));
    case 'control':
      return issueOf(parseControl(value.frame));
    case 'control-result':
      return issueOf(parseControlResult(value.frame));
    default:
      return undefined;
  }
}

function issueOf(
  parsed: { readonly ok: true } | { readonly ok: false; readonly issue: { readonly message: string } },
): string | undefined {
  return parsed.ok ? undefined : parsed.issue.message;
}
