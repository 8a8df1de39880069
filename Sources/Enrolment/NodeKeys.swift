// A node's own keys, made on the node's host: they never cross a wire.

public import Crypto
import DurableFiles
import Glibc
import PKI
import SwiftASN1
import X509
public import ZeroMQ

/// The two keys of a node: that of its certificate, and that of its connections.
public struct NodeKeys: Sendable {
    /// P-256, for the certificate.
    public let certificateKey: P256.Signing.PrivateKey
    /// For CURVE.
    public let curve: ZMQCurveKeyPair

    /// Those of a folder, made where it has none yet: a second try, after an answer was lost, must come with the same ones.
    ///
    /// - Throws: `.invalidIdentity` where a file is there and holds something else or others can read it, `.system`.
    public init(in directory: String) throws(EnrolmentError) {
        let keyPath = "\(directory)/\(NodeIdentity.File.key)"
        let curvePath = "\(directory)/\(NodeIdentity.File.curve)"
        do {
            if let pem = try Self.read(keyPath) {
                certificateKey = try P256.Signing.PrivateKey(pemRepresentation: pem)
            } else {
                certificateKey = P256.Signing.PrivateKey()
                try PrivateFile.write(Array((certificateKey.pemRepresentation + "\n").utf8), to: keyPath)
            }
            if let secret = try Self.read(curvePath) {
                curve = try ZMQCurveKeyPair(secretKey: String(secret.prefix { $0 != "\n" }))
            } else {
                curve = try ZMQCurveKeyPair.generate()
                try PrivateFile.write(Array((curve.secretKey + "\n").utf8), to: curvePath)
            }
        } catch let error as DurableFileError {
            throw EnrolmentError(.invalidIdentity, error.message)
        } catch {
            throw EnrolmentError(.invalidIdentity, "\(directory) does not hold the keys of a node; give another folder")
        }
    }

    /// Whether a folder has keys already.
    public static func exist(in directory: String) -> Bool { access("\(directory)/\(NodeIdentity.File.key)", F_OK) == 0 }

    private static func read(_ path: String) throws(DurableFileError) -> String? {
        do throws(DurableFileError) { return String(decoding: try PrivateFile.read(path, limit: 8_192), as: UTF8.self) } catch {
            guard error.code == .notFound else { throw error }
            return nil
        }
    }

    /// A CSR (RFC 2986) in PEM for this name.
    ///
    /// - Parameter names: further names for the subject alternative name extension.
    /// - Throws: `.system` where the name cannot be written.
    public func signingRequest(commonName: String, names: [String] = []) throws(EnrolmentError) -> String {
        do {
            let alternatives = names.map { AlternativeName(looking: $0).generalName }
            let attributes =
                alternatives.isEmpty
                ? CertificateSigningRequest.Attributes()
                : try CertificateSigningRequest.Attributes([
                    .init(ExtensionRequest(extensions: try Certificate.Extensions([.init(SubjectAlternativeNames(alternatives), critical: false)])))
                ])
            let request = try CertificateSigningRequest(
                version: .v1, subject: try X509.DistinguishedName { CommonName(commonName) }, privateKey: .init(certificateKey),
                attributes: attributes, signatureAlgorithm: .ecdsaWithSHA256)
            return try request.serializeAsPEM().pemString + "\n"
        } catch {
            throw EnrolmentError(.system, "no CSR can be made for this name: \(error)")
        }
    }
}
