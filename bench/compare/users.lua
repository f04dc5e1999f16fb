-- A GET for each of 1,000 users in turn; the figures as one line of JSON at the end.
local count, at, made = 1000, 0, {}

function init(args)
    for n = 0, count - 1 do
        made[n] = wrk.format("GET", nil, {
            ["Host"] = "gallery.example", ["User-Agent"] = "bench/1.0", ["Accept"] = "application/json",
            ["Accept-Encoding"] = "gzip", ["X-User-Id"] = "user-" .. n,
        })
    end
end

function request()
    at = (at + 1) % count
    return made[at]
end

function done(summary, latency, requests)
    local e = summary.errors
    io.write(string.format(
        '\nJSON {"requests":%d,"bytes":%d,"seconds":%.6f,"errors":%d,"p50_ms":%.4f,"p99_ms":%.4f,"p999_ms":%.4f}\n',
        summary.requests, summary.bytes, summary.duration / 1e6,
        e.connect + e.read + e.write + e.status + e.timeout,
        latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, latency:percentile(99.9) / 1e3))
end
