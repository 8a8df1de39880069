// swift-tools-version: 6.2
import PackageDescription

// A package of its own: who builds the CA does not build its fuzzers. `make fuzz` builds each product with libFuzzer, which brings `main`.

let ours: [SwiftSetting] = [.swiftLanguageMode(.v6), .treatAllWarnings(as: .error)]

func root(_ product: String) -> Target.Dependency { .product(name: product, package: "upki-ca") }

func fuzzer(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .executableTarget(name: name, dependencies: ["FuzzSupport"] + dependencies, swiftSettings: ours)
}

let package = Package(
    name: "upki-ca-fuzzing",
    products: [
        .executable(name: "fuzz-protocol", targets: ["fuzz-protocol"]),
        .executable(name: "fuzz-names", targets: ["fuzz-names"]),
        .executable(name: "fuzz-csr", targets: ["fuzz-csr"]),
        .executable(name: "fuzz-settings", targets: ["fuzz-settings"]),
        .executable(name: "fuzz-ocsp", targets: ["fuzz-ocsp"]),
    ],
    dependencies: [
        .package(name: "upki-ca", path: ".."),
        .package(url: "https://github.com/apple/swift-certificates", .upToNextMinor(from: "1.21.1")),
        .package(url: "https://github.com/apple/swift-asn1", .upToNextMinor(from: "1.7.4")),
        .package(url: "https://github.com/apple/swift-crypto", .upToNextMinor(from: "4.5.2")),
    ],
    targets: [
        .target(name: "FuzzSupport", swiftSettings: ours),
        fuzzer("fuzz-protocol", [root("UPKIProtocol")]),
        fuzzer("fuzz-names", [root("PKI")]),
        fuzzer(
            "fuzz-csr",
            [
                root("Authority"), root("PKI"), root("TestAuthority"), .product(name: "X509", package: "swift-certificates"),
                .product(name: "SwiftASN1", package: "swift-asn1"), .product(name: "Crypto", package: "swift-crypto"),
            ]),
        fuzzer("fuzz-settings", [root("PKI"), root("Settings")]),
        fuzzer("fuzz-ocsp", [root("RevocationFormats")]),
    ]
)
