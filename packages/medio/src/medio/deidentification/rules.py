"""What de-identification keeps: an allow-list. An attribute that is not named here does not survive, whatever it is called.

Source: DICOM PS3.15 Annex E (Basic Application Level Confidentiality Profile), read the other way round: its table lists what must go; here stands what
pixels, geometry, acquisition physics and modality need.
"""

from pydicom.uid import (
    ComputedRadiographyImageStorage,
    CTImageStorage,
    DigitalMammographyXRayImageStorageForPresentation,
    DigitalMammographyXRayImageStorageForProcessing,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    EnhancedPETImageStorage,
    MRImageStorage,
    NuclearMedicineImageStorage,
    PositronEmissionTomographyImageStorage,
    SegmentationStorage,
)

IMAGE_CLASSES = frozenset(
    str(uid)
    for uid in (
        CTImageStorage,
        EnhancedCTImageStorage,
        MRImageStorage,
        EnhancedMRImageStorage,
        PositronEmissionTomographyImageStorage,
        EnhancedPETImageStorage,
        NuclearMedicineImageStorage,
        ComputedRadiographyImageStorage,
        DigitalXRayImageStorageForPresentation,
        DigitalXRayImageStorageForProcessing,
        DigitalMammographyXRayImageStorageForPresentation,
        DigitalMammographyXRayImageStorageForProcessing,
        SegmentationStorage,
    )
)
"""Objects whose pixels come from the scanner's detector (or are a mask of such), so that text in them is the exception."""

SCREEN_WORDS = frozenset({"SCREEN", "SCREENSAVE", "DOSE", "REPORT", "PROT", "PROTOCOL", "CAPTURE"})
"""Words of ImageType that tell a picture of a screen, on which names stand."""

NUMERIC = frozenset({"DS", "FD", "FL", "IS", "SL", "SS", "SV", "UL", "US", "UV", "AT"})
NUMERIC_GROUPS = frozenset({0x0018, 0x0020, 0x0028, 0x0054, 0x0062, 0x2050, 0x3002})
"""Numbers of acquisition, relationship, image, PET and segmentation stay; a number cannot hold a name."""

GEOMETRY = frozenset(
    {
        "PixelSpacing",
        "ImagerPixelSpacing",
        "ImagePositionPatient",
        "ImageOrientationPatient",
        "SliceThickness",
        "RescaleSlope",
        "RescaleIntercept",
    }
)
"""Numbers without which the pixels mean nothing: a file where one of them is none is refused, not silently stripped of it."""

LOOKUP_TABLES = frozenset(
    {
        "RedPaletteColorLookupTableDescriptor",
        "GreenPaletteColorLookupTableDescriptor",
        "BluePaletteColorLookupTableDescriptor",
        "RedPaletteColorLookupTableData",
        "GreenPaletteColorLookupTableData",
        "BluePaletteColorLookupTableData",
        "LUTDescriptor",
        "LUTData",
        "PixelPaddingValue",
        "PixelPaddingRangeLimit",
        "SmallestImagePixelValue",
        "LargestImagePixelValue",
    }
)

PIXELS = frozenset({"PixelData", "FloatPixelData", "DoubleFloatPixelData", "ExtendedOffsetTable", "ExtendedOffsetTableLengths"})

KEEP = (
    LOOKUP_TABLES
    | PIXELS
    | frozenset(
        [
            "SpecificCharacterSet",
            "ImageType",
            "Modality",
            "PresentationIntentType",
            "ConversionType",
            "BurnedInAnnotation",
            "RecognizableVisualFeatures",
            "Manufacturer",
            "ManufacturerModelName",
            "LossyImageCompression",
            "LossyImageCompressionMethod",
            "StudyTime",
            "SeriesTime",
            "AcquisitionTime",
            "ContentTime",
            "VolumetricProperties",
            "VolumeBasedCalculationTechnique",
            "ComplexImageComponent",
            "AcquisitionContrast",
            "PixelPresentation",
            "BodyPartExamined",
            "Laterality",
            "ImageLaterality",
            "FrameLaterality",
            "PatientPosition",
            "PatientOrientation",
            "ViewPosition",
            "AnatomicalOrientationType",
            "ScanOptions",
            "ScanningSequence",
            "SequenceVariant",
            "MRAcquisitionType",
            "SequenceName",
            "AngioFlag",
            "FilterType",
            "ConvolutionKernel",
            "ConvolutionKernelGroup",
            "RotationDirection",
            "ExposureModulationType",
            "GeneratorPower",
            "RevolutionTime",
            "SingleCollimationWidth",
            "ContrastBolusAgentAdministered",
            "InPlanePhaseEncodingDirection",
            "VariableFlipAngleFlag",
            "ReceiveCoilType",
            "TransmitCoilType",
            "ResonantNucleus",
            "ImagedNucleus",
            "EchoPulseSequence",
            "MultipleSpinEcho",
            "MultiPlanarExcitation",
            "PhaseContrast",
            "TimeOfFlightContrast",
            "Spoiling",
            "SteadyStatePulseSequence",
            "EchoPlanarPulseSequence",
            "SaturationRecovery",
            "SpectrallySelectedSuppression",
            "OversamplingPhase",
            "GeometryOfKSpaceTraversal",
            "SegmentedKSpaceTraversal",
            "RectilinearPhaseEncodeReordering",
            "PartialFourier",
            "PartialFourierDirection",
            "ParallelAcquisition",
            "ParallelAcquisitionTechnique",
            "InversionRecovery",
            "FlowCompensation",
            "FlowCompensationDirection",
            "SpatialPresaturation",
            "MagnetizationTransfer",
            "T2Preparation",
            "BloodSignalNulling",
            "Tagging",
            "CardiacSynchronizationTechnique",
            "RespiratoryMotionCompensationTechnique",
            "BulkMotionCompensationTechnique",
            "DiffusionDirectionality",
            "DiffusionAnisotropyType",
            "KSpaceFiltering",
            "CoverageOfKSpace",
            "GradientOutputType",
            "SpecificAbsorptionRateDefinition",
            "AcquisitionType",
            "TubeAngle",
            "ReconstructionAlgorithm",
            "FilterMaterial",
            "ExposureControlMode",
            "FocalSpots",
            "AnodeTargetMaterial",
            "BodyPartThickness",
            "DetectorType",
            "DetectorConfiguration",
            "DetectorConditionsNominalFlag",
            "FieldOfViewShape",
            "FieldOfViewHorizontalFlip",
            "Grid",
            "GridAbsorbingMaterial",
            "CollimatorShape",
            "PositionerType",
            "CompressionForce",
            "TableType",
            "AcquisitionStartCondition",
            "AcquisitionTerminationCondition",
            "TypeOfDetectorMotion",
            "CollimatorType",
            "CountsSource",
            "Units",
            "DecayCorrection",
            "SeriesType",
            "CorrectedImage",
            "RandomsCorrectionMethod",
            "AttenuationCorrectionMethod",
            "ScatterCorrectionMethod",
            "ReconstructionMethod",
            "RadiopharmaceuticalStartTime",
            "RadiopharmaceuticalStopTime",
            "PhotometricInterpretation",
            "PixelSpacingCalibrationType",
            "RescaleType",
            "PixelIntensityRelationship",
            "VOILUTFunction",
            "PresentationLUTShape",
            "ModalityLUTType",
            "RedundantDetectorData",
            "QualityControlImage",
            "LongitudinalTemporalInformationModified",
            "DimensionOrganizationType",
            "SegmentationType",
            "SegmentationFractionalType",
            "SegmentAlgorithmType",
            "SegmentsOverlap",
            "SegmentLabel",
            "ContentQualification",
            "ContentLabel",
            "InstanceNumber",
            "SeriesNumber",
            "AcquisitionNumber",
            "SharedFunctionalGroupsSequence",
            "PerFrameFunctionalGroupsSequence",
            "PlanePositionSequence",
            "PlaneOrientationSequence",
            "PixelMeasuresSequence",
            "FrameContentSequence",
            "PixelValueTransformationSequence",
            "FrameVOILUTSequence",
            "ModalityLUTSequence",
            "VOILUTSequence",
            "RealWorldValueMappingSequence",
            "FrameAnatomySequence",
            "AnatomicRegionSequence",
            "AnatomicRegionModifierSequence",
            "PrimaryAnatomicStructureSequence",
            "ViewCodeSequence",
            "ViewModifierCodeSequence",
            "MeasurementUnitsCodeSequence",
            "CTImageFrameTypeSequence",
            "CTAcquisitionTypeSequence",
            "CTAcquisitionDetailsSequence",
            "CTTableDynamicsSequence",
            "CTPositionSequence",
            "CTGeometrySequence",
            "CTReconstructionSequence",
            "CTExposureSequence",
            "CTXRayDetailsSequence",
            "CTPixelValueTransformationSequence",
            "MRImageFrameTypeSequence",
            "MRTimingAndRelatedParametersSequence",
            "MRFOVGeometrySequence",
            "MREchoSequence",
            "MRModifierSequence",
            "MRImagingModifierSequence",
            "MRReceiveCoilSequence",
            "MRTransmitCoilSequence",
            "MRDiffusionSequence",
            "DiffusionGradientDirectionSequence",
            "DiffusionBMatrixSequence",
            "MRAveragesSequence",
            "MRSpatialSaturationSequence",
            "MRVelocityEncodingSequence",
            "MRMetaboliteMapSequence",
            "PETFrameTypeSequence",
            "EnergyWindowInformationSequence",
            "EnergyWindowRangeSequence",
            "RadiopharmaceuticalInformationSequence",
            "RadionuclideCodeSequence",
            "RadiopharmaceuticalCodeSequence",
            "PatientOrientationCodeSequence",
            "PatientOrientationModifierCodeSequence",
            "PatientGantryRelationshipCodeSequence",
            "DetectorInformationSequence",
            "RotationInformationSequence",
            "DimensionOrganizationSequence",
            "DimensionIndexSequence",
            "DerivationImageSequence",
            "DerivationCodeSequence",
            "SourceImageSequence",
            "PurposeOfReferenceCodeSequence",
            "ReferencedImageSequence",
            "ReferencedSeriesSequence",
            "ReferencedInstanceSequence",
            "SegmentSequence",
            "SegmentIdentificationSequence",
            "SegmentedPropertyCategoryCodeSequence",
            "SegmentedPropertyTypeCodeSequence",
            "SegmentedPropertyTypeModifierCodeSequence",
            "CodeValue",
            "LongCodeValue",
            "CodingSchemeDesignator",
            "CodingSchemeVersion",
            "CodeMeaning",
        ]
    )
)
"""Standard attributes that stay as they are (sequences: their items are treated in turn)."""

DATES = frozenset(
    [
        "StudyDate",
        "SeriesDate",
        "AcquisitionDate",
        "ContentDate",
        "InstanceCreationDate",
        "AcquisitionDateTime",
        "FrameAcquisitionDateTime",
        "FrameReferenceDateTime",
        "RadiopharmaceuticalStartDateTime",
        "RadiopharmaceuticalStopDateTime",
        "DateOfSecondaryCapture",
    ]
)
"""Dates that stay, shifted."""

EMPTIED = ("AccessionNumber", "ReferringPhysicianName", "PatientBirthDate", "PatientSex", "StudyID", "StudyDate", "StudyTime")
"""Attributes that every object must have (type 2): present, without a value, where nothing is kept."""

EMPTIED_WHERE_PRESENT = ("ContentDescription", "ContentCreatorName", "PositionReferenceIndicator", "ContrastBolusAgent")
"""Attributes that some classes must have (type 2)."""

CODING_SCHEMES = frozenset({"SCT", "SRT", "SNM3", "DCM", "UCUM", "LN", "FMA", "RADLEX", "NCIt", "UBERON"})
"""Public vocabularies; a code of any other (a hospital's own procedures) goes."""

SEX = frozenset({"PatientSex"})
AGE = frozenset({"PatientAge"})
BODY = frozenset({"PatientSize", "PatientWeight"})

IDENTIFIERS = frozenset(
    {"PatientID", "AccessionNumber", "OtherPatientIDs", "StudyID", "AdmissionID", "IssuerOfPatientID", "InstitutionName", "StationName"}
)
"""Beside every person's name: whose values must be found nowhere in what is kept."""
