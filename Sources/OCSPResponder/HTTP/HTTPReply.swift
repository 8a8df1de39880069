// Responses as bytes: status lines, header fields, conditions (RFC 9110, RFC 9111; for OCSP RFC 9919 and RFC 5019 6).

import NIOCore

/// The statuses that are sent.
enum HTTPStatus: Int, CaseIterable {
    case ok = 200
    case notModified = 304
    case badRequest = 400
    case notFound = 404
    case methodNotAllowed = 405
    case requestTimeout = 408
    case contentTooLarge = 413
    case uriTooLong = 414
    case unsupportedMediaType = 415
    case expectationFailed = 417
    case headerFieldsTooLarge = 431
    case unavailable = 503
    case versionNotSupported = 505

    var line: StaticString {
        switch self {
        case .ok: "HTTP/1.1 200 OK\r\n"
        case .notModified: "HTTP/1.1 304 Not Modified\r\n"
        case .badRequest: "HTTP/1.1 400 Bad Request\r\n"
        case .notFound: "HTTP/1.1 404 Not Found\r\n"
        case .methodNotAllowed: "HTTP/1.1 405 Method Not Allowed\r\n"
        case .requestTimeout: "HTTP/1.1 408 Request Timeout\r\n"
        case .contentTooLarge: "HTTP/1.1 413 Content Too Large\r\n"
        case .uriTooLong: "HTTP/1.1 414 URI Too Long\r\n"
        case .unsupportedMediaType: "HTTP/1.1 415 Unsupported Media Type\r\n"
        case .expectationFailed: "HTTP/1.1 417 Expectation Failed\r\n"
        case .headerFieldsTooLarge: "HTTP/1.1 431 Request Header Fields Too Large\r\n"
        case .unavailable: "HTTP/1.1 503 Service Unavailable\r\n"
        case .versionNotSupported: "HTTP/1.1 505 HTTP Version Not Supported\r\n"
        }
    }
}

/// How a response has to be sent, as its request said.
struct HTTPReplyForm {
    /// The header section alone, for HEAD.
    var headOnly = false
    /// Whether the connection ends with it.
    var closes = false
    /// HTTP/1.0 that asked for the connection to be kept.
    var keepsOld = false
    /// What the client has already; only for GET and HEAD.
    var ifNoneMatch: String?
}

/// A response that is no OCSP answer.
struct HTTPMessage {
    var status: HTTPStatus
    var type: StaticString = "text/plain; charset=utf-8"
    /// For 405 (RFC 9110 15.5.6).
    var allow: StaticString?
    /// Seconds until it makes sense to ask again.
    var retryAfter: Int64?
    var body: [UInt8]

    init(_ status: HTTPStatus, _ text: String) {
        self.status = status
        self.body = Array(text.utf8) + [0x0A]
    }
}

/// What goes to one client as the response to one request.
enum HTTPReply {
    case answer(OCSPAnswer)
    case document(PublishedDocument, RequestTarget.Document)
    case message(HTTPMessage)
    /// 100 (RFC 9110 15.2.1): the client may send the body; the response follows.
    case proceed
}

/// Writes the responses of one second.
final class HTTPReplyWriter {
    /// Whole seconds since 1970.
    let now: Int64
    /// `ocsp.max_age`, seconds.
    let maximumAge: Int64
    /// The Date field (RFC 9110 6.6.1).
    private let date: ByteBuffer
    /// An OCSP response's status line and the fields that are the same for all of this second.
    private let answerHead: ByteBuffer

    /// The most seconds that anybody should keep the CA certificate: another one takes its place when the CA's key changes.
    private static let certificateAge: Int64 = 3_600

    init(now: Int64, maximumAge: Int64) {
        self.now = now
        self.maximumAge = maximumAge
        var date = ByteBuffer()
        date.writeStaticString("Date: ")
        date.writeHTTPDate(now)
        date.writeStaticString("\r\n")
        self.date = date
        var head = ByteBuffer()
        head.writeStaticString(HTTPStatus.ok.line)
        head.writeImmutableBuffer(date)
        head.writeStaticString("Content-Type: application/ocsp-response\r\nContent-Length: ")
        self.answerHead = head
    }

    /// - Returns: the status that was sent.
    func write(_ answer: OCSPAnswer, _ form: HTTPReplyForm, to out: inout ByteBuffer) -> HTTPStatus {
        // More than the fields can take, so that the buffer grows once.
        out.reserveCapacity(minimumWritableBytes: 640 + answer.der.count)
        var age: Int64 = 0
        if let lifetime = answer.lifetime { age = min(self.maximumAge, lifetime.nextUpdate - max(0, self.now)) }
        guard age > 0, let lifetime = answer.lifetime else {
            out.writeImmutableBuffer(self.answerHead)
            out.writeDecimal(Int64(answer.der.count))
            // no-store, not no-cache: a cache that keeps it to ask again could never be told that it is still right, and a nonce's answer is nobody else's.
            out.writeStaticString("\r\nCache-Control: no-store\r\n")
            self.end(form, to: &out)
            if !form.headOnly { out.writeBytes(answer.der) }
            return .ok
        }
        if let condition = form.ifNoneMatch, Self.matches(condition, Self.text(of: answer.tag)) {
            out.writeStaticString(HTTPStatus.notModified.line)
            out.writeImmutableBuffer(self.date)
            self.writeCaching(answer, lifetime, age, to: &out)
            self.end(form, to: &out)
            return .notModified
        }
        out.writeImmutableBuffer(self.answerHead)
        out.writeDecimal(Int64(answer.der.count))
        out.writeStaticString("\r\n")
        self.writeCaching(answer, lifetime, age, to: &out)
        self.end(form, to: &out)
        if !form.headOnly { out.writeBytes(answer.der) }
        return .ok
    }

    /// Expires is nextUpdate, as RFC 5019 6.2 has it; max-age, which goes before it (RFC 9111 5.3), is what bounds a cache.
    private func writeCaching(_ answer: OCSPAnswer, _ lifetime: OCSPAnswer.Lifetime, _ age: Int64, to out: inout ByteBuffer) {
        out.writeStaticString("Cache-Control: max-age=")
        out.writeDecimal(age)
        out.writeStaticString(", public, no-transform, must-revalidate\r\nExpires: ")
        out.writeHTTPDate(lifetime.nextUpdate)
        out.writeStaticString("\r\nLast-Modified: ")
        out.writeHTTPDate(lifetime.thisUpdate)
        out.writeStaticString("\r\nETag: \"")
        out.writeHexadecimal(answer.tag)
        out.writeStaticString("\"\r\n")
    }

    /// Writes the header section; the body is the caller's, in pieces.
    ///
    /// - Returns: the status, and whether the body follows.
    func write(
        _ document: PublishedDocument, _ kind: RequestTarget.Document, _ form: HTTPReplyForm, to out: inout ByteBuffer
    ) -> (status: HTTPStatus, hasBody: Bool) {
        let isSame = form.ifNoneMatch.map { Self.matches($0, document.tag) } ?? false
        let status = isSame ? HTTPStatus.notModified : .ok
        out.writeStaticString(status.line)
        out.writeImmutableBuffer(self.date)
        if !isSame {
            out.writeStaticString(
                kind == .revocationList ? "Content-Type: application/pkix-crl\r\n" : "Content-Type: application/pkix-cert\r\n")
            out.writeStaticString("Content-Length: ")
            out.writeDecimal(Int64(document.der.count))
            out.writeStaticString("\r\n")
        }
        let bound = kind == .revocationList ? self.maximumAge : Self.certificateAge
        let age = max(0, min(bound, document.expires - max(0, self.now)))
        out.writeStaticString("Cache-Control: max-age=")
        out.writeDecimal(age)
        out.writeStaticString(", public, no-transform, must-revalidate\r\nExpires: ")
        out.writeHTTPDate(self.now + age)
        out.writeStaticString("\r\nLast-Modified: ")
        // Never later than Date (RFC 9110 8.8.2.1).
        out.writeHTTPDate(min(document.lastModified, self.now))
        out.writeStaticString("\r\nETag: \"")
        out.writeString(document.tag)
        out.writeStaticString("\"\r\n")
        self.end(form, to: &out)
        return (status, !isSame && !form.headOnly)
    }

    func write(_ message: HTTPMessage, _ form: HTTPReplyForm, to out: inout ByteBuffer) {
        out.writeStaticString(message.status.line)
        out.writeImmutableBuffer(self.date)
        out.writeStaticString("Content-Type: ")
        out.writeStaticString(message.type)
        out.writeStaticString("\r\nContent-Length: ")
        out.writeDecimal(Int64(message.body.count))
        out.writeStaticString("\r\nCache-Control: no-store\r\n")
        if let allow = message.allow {
            out.writeStaticString("Allow: ")
            out.writeStaticString(allow)
            out.writeStaticString("\r\n")
        }
        if let seconds = message.retryAfter {
            out.writeStaticString("Retry-After: ")
            out.writeDecimal(seconds)
            out.writeStaticString("\r\n")
        }
        self.end(form, to: &out)
        if !form.headOnly { out.writeBytes(message.body) }
    }

    private func end(_ form: HTTPReplyForm, to out: inout ByteBuffer) {
        if form.closes {
            out.writeStaticString("Connection: close\r\n\r\n")
        } else if form.keepsOld {
            out.writeStaticString("Connection: keep-alive\r\n\r\n")
        } else {
            out.writeStaticString("\r\n")
        }
    }

    private static func text(of tag: UInt64) -> String {
        var text = ByteBuffer()
        text.writeHexadecimal(tag)
        return String(buffer: text)
    }

    /// Whether a list of If-None-Match has this entity tag, by weak comparison (RFC 9110 13.1.2), or is `*`.
    static func matches(_ list: String, _ tag: String) -> Bool {
        list.utf8.split(separator: UInt8(ascii: ",")).contains { item in
            var item = item.drop { $0 == 0x20 || $0 == 0x09 }
            while let last = item.last, last == 0x20 || last == 0x09 { item.removeLast() }
            if item.elementsEqual("*".utf8) { return true }
            if item.starts(with: "W/".utf8) { item = item.dropFirst(2) }
            return item.first == UInt8(ascii: "\"") && item.last == UInt8(ascii: "\"") && item.count >= 2
                && item.dropFirst().dropLast().elementsEqual(tag.utf8)
        }
    }
}
