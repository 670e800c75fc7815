import type { Test } from 'tap';

/** What every answer without credentials looks like. */
export function checkError(
  t: Test,
  answer: { status: number; headers: object; text: string; body: unknown },
  status: number,
  code: string | RegExp,
  name: string,
): void {
  const headers = answer.headers as Record<string, string>;
  t.equal(answer.status, status, name);
  t.equal(headers['content-type'], 'application/json', `${name}: content type`);
  t.equal(Number(headers['content-length']), Buffer.byteLength(answer.text), `${name}: length`);
  const { Code, Message, code: lower, message } = answer.body as Record<string, string>;
  t.match(Code, code, `${name}: code`);
  t.ok(Message, `${name}: message`);
  t.equal(lower, Code, `${name}: code in lower case`);
  t.equal(message, Message, `${name}: message in lower case`);
  t.strictSame(
    Object.keys(answer.body as object),
    ['Code', 'Message', 'code', 'message'],
    `${name}: and nothing else`,
  );
}
