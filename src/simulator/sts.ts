import { AWSServiceError } from './aws-error.ts';
import type { Principal } from './credential-authority.ts';
import type { Exchange } from './exchange.ts';
import { authenticate, type FrontDoor } from './front-door.ts';

const NAMESPACE = 'https://sts.amazonaws.com/doc/2011-06-15/';
const VERSION = '2011-06-15';

/** STS's query protocol at `POST /` and `GET /`: `GetCallerIdentity`. */
export class STS {
  readonly #door: FrontDoor;

  constructor(door: FrontDoor) {
    this.#door = door;
  }

  /** @see https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html */
  serve(exchange: Exchange): void {
    try {
      const parameters = new URLSearchParams(
        exchange.method === 'POST' ? exchange.body.toString('utf8') : exchange.query,
      );
      const action = parameters.get('Action') ?? '';
      exchange.audit.operation = action === 'GetCallerIdentity' ? action : 'Unknown';
      if (action !== 'GetCallerIdentity' || (parameters.get('Version') ?? VERSION) !== VERSION) {
        throw new AWSServiceError(
          'InvalidAction',
          400,
          `Could not find operation ${action.slice(0, 64)} for version ${parameters.get('Version')?.slice(0, 32) ?? VERSION}`,
        );
      }
      answer(exchange, authenticate(exchange, 'sts', this.#door));
    } catch (error) {
      if (!(error instanceof AWSServiceError)) throw error;
      exchange.audit.errorCode = error.code;
      exchange.audit.errorMessage = error.message;
      xml(
        exchange,
        error.status,
        `<ErrorResponse xmlns="${NAMESPACE}">
  <Error>
    <Type>Sender</Type>
    <Code>${error.code}</Code>
    <Message>${escapeXML(error.message)}</Message>
  </Error>
  <RequestId>${exchange.requestId}</RequestId>
</ErrorResponse>
`,
      );
    }
  }
}

function answer(exchange: Exchange, { arn, userId, account }: Principal): void {
  xml(
    exchange,
    200,
    `<GetCallerIdentityResponse xmlns="${NAMESPACE}">
  <GetCallerIdentityResult>
    <Arn>${escapeXML(arn)}</Arn>
    <UserId>${escapeXML(userId)}</UserId>
    <Account>${account}</Account>
  </GetCallerIdentityResult>
  <ResponseMetadata>
    <RequestId>${exchange.requestId}</RequestId>
  </ResponseMetadata>
</GetCallerIdentityResponse>
`,
  );
}

function xml(exchange: Exchange, status: number, body: string): void {
  exchange.send(status, { 'Content-Type': 'text/xml' }, body);
}

const ENTITIES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
function escapeXML(text: string): string {
  return text.replace(/[&<>"]/g, (character) => ENTITIES[character] as string);
}
