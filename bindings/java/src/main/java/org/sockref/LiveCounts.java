package org.sockref;

/**
 * What is alive in this process, over all registries and languages: a test that leaks nothing finds the same
 * counts at its end as at its beginning.
 *
 * @param references references and connection handles
 * @param entries names, in any state
 * @param buffers pieces of unsent data
 */
public record LiveCounts(long references, long entries, long buffers) {
}
