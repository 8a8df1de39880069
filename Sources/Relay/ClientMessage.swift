// Reading what a client sent: the envelope it wants back, and its one frame.

/// A message of a client as a ROUTER delivers it, taken apart.
package struct ClientMessage {
    package let routingID: [UInt8]
    /// The frames to send back before the answer: REQ's empty delimiter with what stands before it; none for a bare DEALER.
    package let envelope: [[UInt8]]
    /// The request; nil when the message is not exactly one frame after its envelope.
    package let payload: [UInt8]?

    /// A correlated REQ puts one frame before the delimiter; a chain of proxies puts more. What is beyond this is no envelope.
    static let longestEnvelope = 4
    /// More parts than any valid message has, so that one too many is seen.
    package static let partsKept = longestEnvelope + 3

    /// - Parameters:
    ///   - parts: the routing id and what the client sent.
    ///   - complete: false when parts were thrown away because they were too many.
    /// - Returns: nil for a message without a routing id or without any frame, which no ROUTER delivers.
    package init?(parts: [[UInt8]], complete: Bool) {
        guard parts.count >= 2 else { return nil }
        routingID = parts[0]
        let frames = parts[1...]
        // A delimiter is an empty frame that something follows; a message that is one empty frame is an empty request.
        let delimiter = frames.prefix(Self.longestEnvelope).firstIndex { $0.isEmpty }
        if let delimiter, delimiter + 1 < parts.count || frames.count > 1 {
            envelope = Array(parts[1...delimiter])
            payload = complete && delimiter + 2 == parts.count ? parts[delimiter + 1] : nil
        } else {
            envelope = []
            payload = complete && frames.count == 1 ? parts[1] : nil
        }
    }
}
