/** The existing agent's name for it, which the broker keeps. */
const ANSWERS = /^pod_identity_http_response\{code="(\d+)"\} (\d+)$/gm;

/**
 * Requests for credentials that a broker has answered, by its own metrics.
 *
 * @param metricsUrl - Its metrics endpoint, without the path.
 */
export async function brokerRequests(metricsUrl: string): Promise<number> {
  const response = await fetch(`${metricsUrl}/metrics`);
  let requests = 0;
  for (const [, code, count] of (await response.text()).matchAll(ANSWERS)) {
    // 404 is what its own probes get; an SDK asks for no path that is not there.
    if (code !== '404') requests += Number(count);
  }
  return requests;
}
