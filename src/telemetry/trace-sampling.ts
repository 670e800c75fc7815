import { type Context, SpanKind, trace } from '@opentelemetry/api';
import {
  type IdGenerator,
  RandomIdGenerator,
  type Sampler,
  SamplingDecision,
} from '@opentelemetry/sdk-trace';

/**
 * Decides about a trace before its first span is made. The SDK asks its sampler only once it has
 * name, attributes and links, and makes a span of those that it does not record, too: at one
 * request in a hundred that is most of what tracing costs.
 *
 * The SDK's standard samplers go by the trace's id and its parent alone, so the id is drawn
 * first and kept for the SDK, which comes to the same decision.
 */
export class TraceSampling implements IdGenerator {
  readonly sampler: Sampler;
  readonly #random = new RandomIdGenerator();
  /** Id of the trace that begins next. */
  #drawn: string | undefined;

  constructor(sampler: Sampler) {
    this.sampler = sampler;
  }

  /**
   * Whether the trace that begins next is sampled.
   *
   * @param parent - What it belongs to; without a span in it, the trace is a new one.
   */
  samples(parent: Context): boolean {
    const joined = trace.getSpanContext(parent)?.traceId;
    const id = joined ?? this.#random.generateTraceId();
    const { decision } = this.sampler.shouldSample(parent, id, '', SpanKind.INTERNAL, {}, []);
    const sampled = decision !== SamplingDecision.NOT_RECORD;
    this.#drawn = sampled && joined === undefined ? id : undefined;
    return sampled;
  }

  generateTraceId(): string {
    const id = this.#drawn ?? this.#random.generateTraceId();
    this.#drawn = undefined;
    return id;
  }

  generateSpanId(): string {
    return this.#random.generateSpanId();
  }
}
